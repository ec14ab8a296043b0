/** A time: how long ago within a day, the date before; the exact one and that in UTC when pointed at. */
import { Tooltip } from "@mantine/core";
import { useState } from "react";
import { formatDate, formatDateTime, formatRelative } from "@/locales/format";
import { t } from "./texts";
import { useNow } from "./useNow";

interface Props {
  /** ISO-8601, as the API gives it; nothing is "never". */
  at: string | null | undefined;
  /** The exact time instead of "5 minutes ago", where there is room. */
  exact?: boolean;
  /** What stands in place of no time. */
  otherwise?: string;
}

const DAY_MS = 86_400_000;

export function Time({ at, exact = false, otherwise = t("never") }: Props) {
  const step = useNow();
  const [pointed, setPointed] = useState(false);
  if (!at) return <span>{otherwise}</span>;
  const time = new Date(at);
  // What has happened since the last step of the clock is not in the future.
  const now = time.getTime() > step && time.getTime() <= Date.now() ? time.getTime() : step;
  const near = Math.abs(time.getTime() - now) < DAY_MS;
  const shown = exact ? formatDateTime(time) : near ? formatRelative(time, Math.max(now, 0)) : formatDate(time);
  const element = (
    <time dateTime={at} onPointerEnter={() => setPointed(true)} onPointerLeave={() => setPointed(false)}>
      {shown}
    </time>
  );
  // Only where somebody points: a list has many times, and each tooltip takes as long as a row.
  if (!pointed) return element;
  const label = t("exactTime", { local: formatDateTime(time), utc: formatDateTime(time, "UTC") });
  return (
    <Tooltip label={label} opened>
      {element}
    </Tooltip>
  );
}
