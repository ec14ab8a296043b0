/** When each phase of a request had ended, in milliseconds. */
import { Table } from "@mantine/core";
import { formatNumber } from "@/locales/format";
import { has, t } from "./texts";

export function Timings({ timings }: { timings: Record<string, number> }) {
  const phases = Object.entries(timings);
  if (phases.length === 0) return null;
  return (
    <Table captionSide="top" w="auto">
      <caption>{t("timings")}</caption>
      <tbody>
        {phases.map(([phase, milliseconds]) => {
          const key = `timing_${phase}`;
          return (
            <tr key={phase}>
              <Table.Th scope="row">{has(key) ? t(key) : phase}</Table.Th>
              <Table.Td className="numeric">{formatNumber(milliseconds, { maximumFractionDigits: 1 })}</Table.Td>
            </tr>
          );
        })}
      </tbody>
    </Table>
  );
}
