/** The status of a message as a word in its colour. */
import { Status } from "@/parts/Status";
import { has, t } from "./texts";

export const STATUSES = ["queued", "held", "sending", "sent", "delivered", "failed", "skipped", "unknown"] as const;

export function MessageState({ status }: { status: string }) {
  const key = `status_${status}`;
  return <Status value={status === "held" ? "paused" : status} label={has(key) ? t(key) : undefined} />;
}

/** Reasons are one word of the API: `invalid_number`. */
export const reasonWords = (reason: string | null | undefined) => reason?.replaceAll("_", " ");
