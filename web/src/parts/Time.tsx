/** A time: how long ago within a day, the date before; the exact one and that in UTC when pointed at. */
import { Tooltip } from "@mantine/core";
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
  if (!at) return <span>{otherwise}</span>;
  const time = new Date(at);
  // What has happened since the last step of the clock is not in the future.
  const now = time.getTime() > step && time.getTime() <= Date.now() ? time.getTime() : step;
  const near = Math.abs(time.getTime() - now) < DAY_MS;
  const local = formatDateTime(time);
  const shown = exact ? local : near ? formatRelative(time, Math.max(now, 0)) : formatDate(time);
  return (
    <Tooltip label={t("exactTime", { local, utc: formatDateTime(time, "UTC") })}>
      <time dateTime={at}>{shown}</time>
    </Tooltip>
  );
}
