/** A number: exact when pointed at, short where there is no room, with "about" where it is an estimate. */
import { Tooltip } from "@mantine/core";
import { formatNumber } from "@/locales/format";
import { t } from "./texts";

interface Props {
  of: number | null | undefined;
  /** 12,403 as 12K. */
  short?: boolean;
  approximate?: boolean;
}

export function Count({ of, short = false, approximate = false }: Props) {
  if (of === null || of === undefined) return <span>–</span>;
  const exact = formatNumber(of);
  const shown = short && of >= 10_000 ? formatNumber(of, { notation: "compact", maximumFractionDigits: 1 }) : exact;
  const text = approximate ? t("approximately", { n: shown }) : shown;
  if (shown === exact) return <span>{text}</span>;
  return (
    <Tooltip label={exact}>
      <span>{text}</span>
    </Tooltip>
  );
}
