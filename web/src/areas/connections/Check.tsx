/** The set-up check as a list: each step with its result, code, meaning, and what to do. */
import { Alert, Button, Group, Stack, Text } from "@mantine/core";
import "@mantine/core/styles/List.css";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type Connection, checkConnection } from "@/api/connections";
import { useMay } from "@/api/me";
import { Details, Section } from "@/parts/Details";
import { Reason } from "@/parts/Reason";
import { Failed } from "@/parts/States";
import { Time } from "@/parts/Time";
import { Steps } from "./CheckRefusal";
import { Result } from "./State";
import { has, rich, t } from "./texts";

export function Check({ connection: { id, check: stored } }: { connection: Connection }) {
  const queries = useQueryClient();
  const may = useMay()("connections.write");
  const run = useMutation({
    mutationFn: () => checkConnection(id),
    onSuccess: () => void queries.invalidateQueries({ queryKey: ["connections"] }),
  });
  const check = run.data ?? stored;
  return (
    <Section
      title={t("check")}
      lead={t("checkLead")}
      actions={
        may && (
          <Button size="xs" variant="default" onClick={() => run.mutate()} loading={run.isPending}>
            {check ? t("runAgain") : t("runCheck")}
          </Button>
        )
      }
    >
      {run.isError && <Failed error={run.error} retry={() => run.mutate()} />}
      {!check ? (
        <Text size="sm">{t("notChecked")}</Text>
      ) : (
        <Stack>
          <Alert color={check.ok ? "green" : check.ok === false ? "red" : "yellow"} role="status">
            <Stack gap="xs">
              <Group gap="xs">
                <Result result={check.result} />
                <Text size="sm">{rich("checkedAt", { when: <Time key="at" at={check.checked_at} /> })}</Text>
              </Group>
              {check.ok && <Text size="sm">{t("checkPassed")}</Text>}
              <Reason code={check.setup_code} text={check.meaning} />
              {(check.resolution ?? []).length > 0 && <Steps steps={check.resolution ?? []} />}
            </Stack>
          </Alert>
          <Details
            rows={[
              [t("account"), check.account_id ?? undefined],
              [t("stream"), check.stream ?? undefined],
            ]}
          />
          <ol aria-label={t("check")}>
            {(check.checks ?? []).map((step) => {
              const key = `step_${step.name}`;
              return (
                <li key={step.name}>
                  <Stack gap={2} mb="sm">
                    <Group gap="xs">
                      <Result result={step.result} />
                      <Text size="sm" fw={500}>
                        {has(key) ? t(key) : step.name.replaceAll("_", " ")}
                      </Text>
                    </Group>
                    <Reason code={step.setup_code} text={step.meaning ?? step.error} />
                    {step.detail && <Text size="sm">{t("found", { what: step.detail })}</Text>}
                    <Text size="xs" c="dimmed">
                      {t("call")}: <code>{step.call}</code>
                    </Text>
                  </Stack>
                </li>
              );
            })}
          </ol>
        </Stack>
      )}
    </Section>
  );
}
