/** The form of an endpoint, for a new one and for one that is changed. */
import { Button, Checkbox, Group, NativeSelect, Stack, Textarea, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { formatsQuery, type Webhook } from "@/api/webhooks";
import { FormProblem } from "@/parts/FormProblem";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { useCommandKey } from "@/parts/useKeys";
import { EventTypes } from "./EventTypes";
import { t } from "./texts";
import { bodyOf, CHECKS, EMPTY, valuesOf, type WebhookValues } from "./webhookValues";

interface Props<Result> {
  webhook?: Webhook;
  /** What a link to the form has chosen already. */
  chosen?: Partial<WebhookValues>;
  send: (body: ReturnType<typeof bodyOf>) => Promise<Result>;
  done: (result: Result) => void;
}

const URL_EXAMPLE = "https://example.com/hooks";
const EXAMPLE = '{"properties.total": {"$gte": 100}}';

export function WebhookForm<Result>({ webhook, chosen, send, done }: Props<Result>) {
  const formats = useQuery(formatsQuery).data?.data ?? [];
  const form = useForm({
    initial: webhook ? valuesOf(webhook) : { ...EMPTY, ...chosen },
    checks: CHECKS,
    send: (values) => send(bodyOf(values, webhook)),
    done,
  });
  useGuard(form.changed && !form.pending);
  useCommandKey("s", form.submit);
  const kept = Object.keys(webhook?.headers ?? {});
  const callback = webhook?.format === "klaviyo";
  const choices = [
    { value: "standard", label: t("format_standard") },
    ...formats.filter(({ id }) => id !== "standard").map(({ id, name }) => ({ value: id, label: name })),
    ...(callback ? [{ value: "klaviyo", label: "Klaviyo" }] : []),
  ];
  return (
    <form {...form.form}>
      <Stack maw={640}>
        <TextInput
          {...form.field("url")}
          type="url"
          label={t("url")}
          description={t("urlHint")}
          placeholder={URL_EXAMPLE}
          required
        />
        <TextInput {...form.field("description")} label={t("description")} />
        <EventTypes
          value={form.values.event_types}
          onChange={(types) => form.set("event_types", types)}
          error={form.errors.event_types}
        />
        <NativeSelect {...form.field("format")} label={t("format")} description={t("formatHint")} data={choices} />
        {!webhook && (
          <NativeSelect
            {...form.field("signature")}
            label={t("signature")}
            description={t("signatureHint")}
            data={(["v1", "v1a", "none"] as const).map((value) => ({ value, label: t(`signature_${value}`) }))}
          />
        )}
        <Textarea
          {...form.field("filter")}
          label={t("filter")}
          description={t("filterHint", { example: EXAMPLE })}
          autosize
          minRows={2}
          maxRows={12}
          styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)" } }}
          spellCheck={false}
        />
        <Textarea
          {...form.field("headers")}
          label={t("headers")}
          description={kept.length > 0 ? t("headersKept", { names: kept.join(", ") }) : t("headersHint")}
          autosize
          minRows={2}
          maxRows={12}
          spellCheck={false}
        />
        {kept.length > 0 && (
          <Checkbox
            {...form.field("clearHeaders")}
            value="clear"
            checked={form.values.clearHeaders}
            label={t("clearHeaders")}
          />
        )}
        <Group grow align="flex-start" preventGrowOverflow={false}>
          <TextInput
            {...form.field("rate_limit")}
            label={t("rateLimit")}
            description={t("rateLimitHint")}
            inputMode="decimal"
          />
          <TextInput
            {...form.field("timeout")}
            label={t("timeout")}
            description={t("timeoutHint")}
            inputMode="decimal"
          />
          <TextInput {...form.field("concurrency")} label={t("concurrency")} inputMode="numeric" />
        </Group>
        <TextInput
          {...form.field("owner_email")}
          type="email"
          label={t("ownerEmail")}
          description={t("ownerEmailHint")}
        />
        <FormProblem problem={form.problem} />
        <Group>
          <Button type="submit" loading={form.pending}>
            {webhook ? t("save") : t("create")}
          </Button>
          <Button
            component={Link}
            to={webhook ? "/webhooks/$id" : "/webhooks"}
            params={(webhook ? { id: webhook.id } : {}) as never}
            variant="default"
          >
            {t("cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
