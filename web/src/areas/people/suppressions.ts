/** Words of suppressions that several parts show. */
import type { Suppression } from "@/api/suppressions";
import { has, t } from "./texts";

export const CHANNELS = ["email", "sms", "event"];

/** Why an address gets nothing; a word of the workspace's own stays what it is. */
export function reasonOf({ reason }: Pick<Suppression, "reason">): string {
  const key = `suppressed_${reason}`;
  return has(key) ? t(key) : reason.replaceAll("_", " ");
}
