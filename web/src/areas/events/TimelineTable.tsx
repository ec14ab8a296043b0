/** The figures of a chart as a table, for those who do not see the chart, or want the numbers. */
import { Table } from "@mantine/core";
import type { Timeline } from "@/api/metrics";
import { formatDate, formatDateTime, formatNumber } from "@/locales/format";
import { t } from "./texts";

export function TimelineTable({ timeline: { name, interval, starts, series } }: { timeline: Timeline }) {
  const when = interval === "day" ? formatDate : formatDateTime;
  return (
    <details>
      <summary>{t("table")}</summary>
      <Table.ScrollContainer minWidth={0} type="native">
        <Table aria-label={t("tableOf", { name })} verticalSpacing={4}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">{t("from")}</Table.Th>
              {series.map(({ status }) => (
                <Table.Th key={status} scope="col" className="numeric">
                  {status ?? t("events")}
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {starts.map((start, index) => (
              <Table.Tr key={start}>
                <Table.Th scope="row">{when(new Date(start))}</Table.Th>
                {series.map(({ status, counts }) => (
                  <Table.Td key={status} className="numeric">
                    {formatNumber(counts[index] ?? 0)}
                  </Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
          <Table.Tfoot>
            <Table.Tr>
              <Table.Th scope="row">{t("sum")}</Table.Th>
              {series.map(({ status, total }) => (
                <Table.Td key={status} className="numeric">
                  {formatNumber(total)}
                </Table.Td>
              ))}
            </Table.Tr>
          </Table.Tfoot>
        </Table>
      </Table.ScrollContainer>
    </details>
  );
}
