/** The fields of a text client, new or not. */
import { NativeSelect, Stack, Textarea, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { connectionsQuery } from "@/api/connections";
import { useMay } from "@/api/me";
import type { useForm } from "@/parts/useForm";
import type { TextClientFields as Fields } from "./textClient";
import { t } from "./textClientTexts";

type Form = Pick<ReturnType<typeof useForm<Fields, unknown>>, "field" | "values" | "set">;

const CHECK_LINKS = ["now", "later", "never"] as const;
const UTM = ["usual", "none", "own"] as const;

export function TextClientFields({ form }: { form: Form }) {
  const may = useMay()("connections.read");
  const connections = useQuery({ ...connectionsQuery, enabled: may }).data?.data ?? [];
  const named = (one: { id: string; name: string }) => ({ value: one.id, label: one.name });
  const klaviyo = connections.filter(({ connector }) => connector === "klaviyo").map(named);
  const senders = connections.filter(({ channel }) => channel === "sms").map(named);
  const { kind, callback_connection: callback, connection_id: sender } = form.values;
  const kinds = (["none", "webhook", "klaviyo"] as const).filter(
    (one) => one !== "klaviyo" || klaviyo.length > 0 || kind === one,
  );
  /** What is chosen is offered, whatever this person may see. */
  const withChosen = (choices: { value: string; label: string }[], chosen: string) =>
    !chosen || choices.some(({ value }) => value === chosen) ? choices : [...choices, { value: chosen, label: chosen }];
  const kindField = form.field("kind");
  return (
    <Stack maw={520}>
      <TextInput {...form.field("name")} label={t("name")} required withAsterisk={false} maxLength={200} />
      <NativeSelect
        {...kindField}
        onChange={(event) => {
          const next = event.currentTarget.value as Fields["kind"];
          form.set("kind", next);
          if (next === "klaviyo" && !callback) form.set("callback_connection", klaviyo[0]?.value ?? "");
        }}
        label={t("callback")}
        data={kinds.map((value) => ({ value, label: t(`callback_${value}`) }))}
      />
      {kind === "webhook" && (
        <TextInput
          {...form.field("url")}
          type="url"
          label={t("callbackUrl")}
          description={t("callbackUrlHint")}
          required
          withAsterisk={false}
        />
      )}
      {kind === "klaviyo" && (
        <NativeSelect
          {...form.field("callback_connection")}
          label={t("callbackConnection")}
          data={withChosen(klaviyo, callback)}
        />
      )}
      <NativeSelect
        {...form.field("connection_id")}
        label={t("sentBy")}
        description={t("sentByHint")}
        data={[{ value: "", label: t("sentBy_order") }, ...withChosen(senders, sender)]}
      />
      <NativeSelect
        {...form.field("check_links")}
        label={t("checkLinks")}
        data={CHECK_LINKS.map((value) => ({ value, label: t(`checkLinks_${value}`) }))}
      />
      <NativeSelect
        {...form.field("utm")}
        label={t("utm")}
        data={UTM.map((value) => ({ value, label: t(`utm_${value}`) }))}
      />
      {form.values.utm === "own" && (
        <Textarea
          {...form.field("parameters")}
          label={t("parameters")}
          description={t("parametersHint", { purpose: "{sendPurpose}" })}
          rows={4}
          spellCheck={false}
        />
      )}
      <TextInput
        {...form.field("default_metric")}
        label={t("defaultMetric")}
        description={t("defaultMetricHint")}
        maxLength={127}
      />
      <TextInput
        {...form.field("max_matches")}
        label={t("maxMatches")}
        description={t("maxMatchesHint")}
        inputMode="numeric"
      />
      <TextInput {...form.field("rate_limit")} label={t("textRate")} inputMode="decimal" />
    </Stack>
  );
}
