/** Sends one message through the connection now, and shows the exact request, the answer, and what it means. */
import { Alert, Button, Group, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { type Connection, sendTestMessage } from "@/api/connections";
import { Details, Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { Reason } from "@/parts/Reason";
import { RequestView, ResponseView } from "@/parts/Request";
import { useForm } from "@/parts/useForm";
import { has, t } from "./texts";

/** The API lists headers as pairs: they may be repeated. */
const asPairs = (headers: string[][]) => headers.map(([name = "", value = ""]) => [name, value] as const);

export function TestMessage({ connection: { id, channel } }: { connection: Connection }) {
  const text = t("testText");
  const form = useForm({
    initial: { to: "", text, subject: text, html: `<p>${text}</p>`, metric: "Test" },
    checks: { to: (to: string) => (to.trim() ? undefined : t("needed")) },
    send: ({ to, text, subject, html, metric }) =>
      sendTestMessage(id, {
        to: to.trim(),
        ...(channel === "sms" && { text }),
        ...(channel === "email" && { subject, html }),
        ...(channel === "event" && { metric }),
      }),
  });
  const result = form.result;
  const hint = `toHint_${channel}`;
  return (
    <Section title={t("test")} lead={t("testLead")}>
      <form {...form.form} aria-label={t("test")}>
        <Stack maw={520}>
          <TextInput
            {...form.field("to")}
            label={t("to")}
            description={has(hint) ? t(hint) : undefined}
            required
            autoComplete="off"
          />
          {channel === "sms" && <Textarea {...form.field("text")} label={t("text")} autosize />}
          {channel === "email" && (
            <>
              <TextInput {...form.field("subject")} label={t("subject")} />
              <Textarea {...form.field("html")} label={t("html")} autosize spellCheck={false} />
            </>
          )}
          {channel === "event" && <TextInput {...form.field("metric")} label={t("metric")} />}
          <FormProblem problem={form.problem} />
          <Group>
            <Button type="submit" loading={form.pending}>
              {t("send")}
            </Button>
          </Group>
        </Stack>
      </form>
      {result && (
        <Stack>
          <Alert
            color={result.accepted ? "green" : result.verdict.outcome === "unknown" ? "yellow" : "red"}
            role="status"
            title={t(result.accepted ? "tookIt" : result.verdict.outcome === "unknown" ? "unsure" : "tookItNot")}
          >
            {!result.accepted && (
              <Reason
                code={result.verdict.code ?? result.verdict.provider_code}
                text={result.verdict.failure ?? result.verdict.reason?.replaceAll("_", " ")}
                fix={result.verdict.detail}
              />
            )}
            <Details
              rows={[
                [t("messageId"), result.message_id],
                [t("providerId"), result.verdict.provider_message_id ?? undefined],
                [t("outcome"), result.verdict.outcome],
              ]}
            />
          </Alert>
          {result.request ? (
            <RequestView {...result.request} headers={asPairs(result.request.headers)} />
          ) : (
            <Text size="sm">{t("noRequest")}</Text>
          )}
          <ResponseView
            status={result.response?.status}
            headers={asPairs(result.response?.headers ?? [])}
            body={result.response?.body}
            milliseconds={result.timings.total}
            error={result.response ? undefined : result.error}
          />
        </Stack>
      )}
    </Section>
  );
}
