/** Failed messages by code, each leading to its messages. */
import { Anchor, Table } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { Count } from "./Count";
import { Reason } from "./Reason";
import { t } from "./texts";

interface Props {
  label: string;
  /** By code; null where the provider gave none. */
  failures: readonly { code: number | null; reason: string | null; count: number }[];
  /** What the list of messages is narrowed by, besides the code. */
  filters?: Record<string, string>;
}

export function FailureTable({ label, failures, filters }: Props) {
  const to: string = "/messages";
  return (
    <Table aria-label={label}>
      <Table.Thead>
        <Table.Tr>
          <Table.Th scope="col">{t("reason")}</Table.Th>
          <Table.Th scope="col" className="numeric">
            {t("messages")}
          </Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {failures.map(({ code, reason, count }) => (
          <Table.Tr key={code}>
            <Table.Th scope="row" fw={400}>
              {code === null ? t("noCode") : <Reason code={code} text={reason ?? t("unknownCode")} />}
            </Table.Th>
            <Table.Td className="numeric">
              <Anchor
                component={Link}
                to={to}
                search={{ ...filters, status: "failed", ...(code !== null && { code }) } as never}
                size="sm"
              >
                <Count of={count} />
              </Anchor>
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
