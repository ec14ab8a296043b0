/** The words for the status and the set-up check of a connection. */
import { Status } from "@/parts/Status";
import { has, t } from "./texts";

/** The part of the colours that fits each word. */
const COLOURS: Record<string, string> = { enabled: "active", ok: "ok", warning: "paused", unverified: "unknown" };

function Word({ kind, value }: { kind: string; value: string }) {
  const key = `${kind}_${value}`;
  return <Status value={COLOURS[value] ?? value} label={has(key) ? t(key) : undefined} />;
}

export const State = ({ status }: { status: string }) => <Word kind="status" value={status} />;
export const Health = ({ health }: { health: string }) => <Word kind="health" value={health} />;
export const Result = ({ result }: { result: string }) => <Word kind="result" value={result} />;
