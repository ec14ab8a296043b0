/** Why a connection was not stored: the set-up code, what it means, what to do. */
import { Alert, List, Stack, Text } from "@mantine/core";
import "@mantine/core/styles/List.css";
import type { Problem } from "@/api/problem";
import { Reason } from "@/parts/Reason";
import { t } from "./texts";

export const isCheckRefusal = ({ code }: Problem) => code === "setup_check_failed" || code === "setup_not_verified";

export function CheckRefusal({ problem }: { problem: Problem }) {
  const { setup_code, meaning, resolution, call, error, found } = problem.extra as Record<string, unknown>;
  const steps = Array.isArray(resolution) ? (resolution as string[]) : [];
  return (
    <Alert
      color={problem.code === "setup_check_failed" ? "red" : "yellow"}
      role="alert"
      title={t(problem.code === "setup_check_failed" ? "refused" : "notVerified")}
    >
      <Stack gap="xs">
        <Reason code={setup_code as number | null} text={meaning ? String(meaning) : problem.detail} />
        {Boolean(found) && <Text size="sm">{t("found", { what: String(found) })}</Text>}
        {Boolean(call) && (
          <Text size="sm">
            {t("call")}: <code>{String(call)}</code> {error ? String(error) : ""}
          </Text>
        )}
        {steps.length > 0 && <Steps steps={steps} />}
        <Text size="sm">{t("nothingStored")}</Text>
      </Stack>
    </Alert>
  );
}

export function Steps({ steps }: { steps: readonly string[] }) {
  return (
    <>
      <Text size="sm" fw={500}>
        {t("whatToDo")}
      </Text>
      <List size="sm" type="ordered">
        {steps.map((step) => (
          <List.Item key={step}>{step}</List.Item>
        ))}
      </List>
    </>
  );
}
