/** The failures of the last day by code. */
import { Anchor, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { messageFigures } from "@/api/home";
import { Count } from "@/parts/Count";
import { Section } from "@/parts/Details";
import { Reason } from "@/parts/Reason";
import { States } from "@/parts/States";
import { t } from "./texts";

const SHOWN = 8;

export function Failures() {
  const query = useQuery(messageFigures);
  const to: string = "/messages";
  return (
    <Section title={t("failures")}>
      <States query={query}>
        {({ failures }) =>
          failures.length === 0 ? (
            <Text size="sm" c="dimmed">
              {t("noFailures")}
            </Text>
          ) : (
            <>
              <Table aria-label={t("failures")}>
                <Table.Thead>
                  <Table.Tr>
                    <Table.Th scope="col">{t("reason")}</Table.Th>
                    <Table.Th scope="col" className="numeric">
                      {t("messages")}
                    </Table.Th>
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {failures.slice(0, SHOWN).map(({ code, reason, count }) => (
                    <Table.Tr key={code}>
                      <Table.Th scope="row" fw={400}>
                        {code === null ? t("noCode") : <Reason code={code} text={reason ?? t("unknownCode")} />}
                      </Table.Th>
                      <Table.Td className="numeric">
                        <Count of={count} />
                      </Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
              <Anchor component={Link} to={to} search={{ status: "failed" } as never} size="sm">
                {t("seeThem")}
              </Anchor>
            </>
          )
        }
      </States>
    </Section>
  );
}
