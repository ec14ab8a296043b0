/** Sends an example event to the endpoint, and shows the exact request and what came back. */
import { Alert, Button, Group, NativeSelect, Stack } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { eventTypesQuery } from "@/api/eventTypes";
import { sendTestEvent, type Webhook } from "@/api/webhooks";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { RequestView, ResponseView } from "@/parts/Request";
import { useForm } from "@/parts/useForm";
import { errorWords } from "./errorWords";
import { Timings } from "./Timings";
import { t } from "./texts";

const asPattern = (glob: string) =>
  new RegExp(
    `^${glob
      .split("*")
      .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"))
      .join(".*")}$`,
  );

export function TestEvent({ webhook }: { webhook: Webhook }) {
  const types = useQuery(eventTypesQuery).data?.data ?? [];
  const patterns = webhook.event_types.map(asPattern);
  const fitting = types.map(({ type }) => type).filter((type) => patterns.some((pattern) => pattern.test(type)));
  const form = useForm({
    initial: { event_type: "" },
    send: ({ event_type }) => sendTestEvent(webhook.id, event_type),
  });
  const result = form.result;
  const took = result?.response && result.response.status >= 200 && result.response.status < 300 && !result.error;
  return (
    <Section
      title={t("test")}
      lead={t("testLead")}
      actions={
        <CopyAsCurl
          method="POST"
          path={`/v1/webhooks/${webhook.id}/test`}
          body={form.values.event_type ? { event_type: form.values.event_type } : {}}
        />
      }
    >
      <form {...form.form}>
        <Group align="flex-end">
          <NativeSelect
            {...form.field("event_type")}
            label={t("testType")}
            data={[{ value: "", label: t("testTypeFirst") }, ...fitting]}
          />
          <Button type="submit" loading={form.pending}>
            {t("send")}
          </Button>
        </Group>
        <FormProblem problem={form.problem} />
      </form>
      {result && (
        <Stack>
          <Alert color={took ? "green" : "red"} role="status" title={took ? t("took") : t("tookNot")}>
            {result.error && errorWords(result.error)}
          </Alert>
          <RequestView {...result.request} />
          <ResponseView
            status={result.response?.status}
            headers={result.response?.headers}
            body={result.response?.body ?? result.response?.body_base64}
            milliseconds={result.timings.total}
            error={result.response ? undefined : result.error && errorWords(result.error)}
          />
          <Timings timings={result.timings} />
        </Stack>
      )}
    </Section>
  );
}
