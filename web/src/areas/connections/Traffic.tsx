/** What a connection sent on the last day, and why messages failed. */
import { Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { connectionFigures } from "@/api/home";
import { formatPercent } from "@/locales/format";
import { Count } from "@/parts/Count";
import { Details, Section } from "@/parts/Details";
import { FailureTable } from "@/parts/FailureTable";
import { States } from "@/parts/States";
import { useLive } from "@/parts/useLive";
import { t } from "./texts";

const SHOWN = 8;

export function Traffic({ id }: { id: string }) {
  const query = useQuery(connectionFigures(id));
  useLive(["messages"]);
  return (
    <Section title={t("traffic")}>
      <States query={query}>
        {({ totals: { sent = 0, delivered = 0, failed = 0 }, failures }) =>
          sent + delivered + failed === 0 ? (
            <Text size="sm" c="dimmed">
              {t("noTraffic")}
            </Text>
          ) : (
            <>
              <Details
                rows={[
                  [t("sent"), <Count key="sent" of={sent} />],
                  [
                    t("delivered"),
                    <>
                      <Count of={delivered} />
                      {sent > 0 && ` (${formatPercent(Math.min(delivered / sent, 1))})`}
                    </>,
                  ],
                  [t("failed"), <Count key="failed" of={failed} />],
                ]}
              />
              {failures.length > 0 && (
                <FailureTable
                  label={t("failures")}
                  failures={failures.slice(0, SHOWN)}
                  filters={{ connection_id: id }}
                />
              )}
            </>
          )
        }
      </States>
    </Section>
  );
}
