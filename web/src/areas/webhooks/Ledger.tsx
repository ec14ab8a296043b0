/** The figures of an endpoint that must add up, and a fresh count that proves it. */
import { Alert, Button, Group } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { ledgerQuery, type Webhook } from "@/api/webhooks";
import { Count } from "@/parts/Count";
import { Details, Section } from "@/parts/Details";
import { Failed } from "@/parts/States";
import { Time } from "@/parts/Time";
import { rich, t } from "./texts";

export function Ledger({ webhook: { id, counts } }: { webhook: Webhook }) {
  const recount = useQuery({ ...ledgerQuery, enabled: false });
  const counted = recount.data?.endpoints.find((endpoint) => endpoint.id === id);
  const shown = counted ?? counts;
  const when = <Time key="at" at={new Date(recount.dataUpdatedAt).toISOString()} />;
  return (
    <Section
      title={t("ledger")}
      lead={t("ledgerLead")}
      actions={
        <Button size="xs" variant="default" onClick={() => void recount.refetch()} loading={recount.isFetching}>
          {t("prove")}
        </Button>
      }
    >
      <Group gap="xl" align="flex-start">
        <Details
          rows={(["accepted", "delivered", "pending", "dead"] as const).map(
            (name) => [t(name), <Count key={name} of={shown[name]} />] as const,
          )}
        />
      </Group>
      {recount.isError && <Failed error={recount.error} retry={() => void recount.refetch()} />}
      {counted && (
        <Alert color={counted.balanced ? "green" : "red"} role="status">
          {rich(counted.balanced ? "balanced" : "unbalanced", { when })}
        </Alert>
      )}
    </Section>
  );
}
