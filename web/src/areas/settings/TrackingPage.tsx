/** What is recorded of emails and links, the tracking domain, and the UTM parameters of all links. */
import { Button, Checkbox, Code, Group, NativeSelect, Stack, Text, TextInput } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useMay } from "@/api/me";
import { setTracking, type Tracking, trackingQuery } from "@/api/tracking";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { States } from "@/parts/States";
import { toast } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { useCommandKey } from "@/parts/useKeys";
import classes from "./RuleFields.module.css";
import { SettingsFrame } from "./SettingsFrame";
import { t } from "./sendingTexts";
import { exampleLink, readTracking, type TrackingFields, writeTracking } from "./tracking";

export function TrackingPage() {
  const query = useQuery(trackingQuery);
  return (
    <SettingsFrame>
      <States query={query}>{(found) => <TrackingForm start={found} />}</States>
    </SettingsFrame>
  );
}

const isDays = (text: string) => text.trim() === "" || (/^\d{1,4}$/.test(text.trim()) && Number(text) >= 1);
const MOST_DAYS = 3650;

type Form = ReturnType<typeof useForm<TrackingFields, Tracking>>;

function TrackingForm({ start }: { start: Tracking }) {
  const may = useMay()("settings.write");
  const queries = useQueryClient();
  const [initial] = useState(() => readTracking(start));
  const form = useForm({
    initial,
    send: (values) => setTracking(writeTracking(values)),
    checks: {
      link_days: (days) => (isDays(days) && Number(days) <= MOST_DAYS ? undefined : t("wholeDays")),
    },
    names: { "utm.source": "utm_source", "utm.medium": "utm_medium", "utm.campaign": "utm_campaign" },
    done: (saved) => {
      queries.setQueryData(trackingQuery.queryKey, saved);
      toast(t("saved"));
    },
  });
  useGuard(form.changed && !form.pending);
  useCommandKey("s", form.submit, may);
  return (
    <form {...form.form} aria-label={t("trackingForm")}>
      <fieldset disabled={!may} className={classes.plain}>
        <Stack>
          <Emails form={form} />
          <Links form={form} start={start} />
          <Parameters form={form} />
          <Section title={t("textsTitle")}>
            <TextInput
              {...form.field("opt_out_text")}
              label={t("optOut")}
              description={t("optOutHint")}
              maxLength={100}
              maw={480}
            />
          </Section>
          <FormProblem problem={form.problem} />
          <Group>
            {may && (
              <Button type="submit" loading={form.pending} disabled={!form.changed}>
                {t("save")}
              </Button>
            )}
            <CopyAsCurl method="PUT" path="/v1/tracking" body={writeTracking(form.values)} />
          </Group>
        </Stack>
      </fieldset>
    </form>
  );
}

function Emails({ form }: { form: Form }) {
  const box = (name: "opens" | "clicks" | "transactional" | "bait", description?: string) => {
    const { value, error, onChange } = form.field(name);
    return (
      <Checkbox
        name={name}
        label={t(name)}
        description={description}
        checked={value}
        error={error}
        onChange={onChange}
      />
    );
  };
  return (
    <Section title={t("emails")}>
      {box("opens", t("opensHint"))}
      {box("clicks", t("clicksHint"))}
      {box("transactional")}
      {box("bait", t("baitHint"))}
    </Section>
  );
}

function Links({ form, start }: { form: Form; start: Tracking }) {
  const centers = Object.keys(start.data_centers).sort();
  const standard = start.data_centers[form.values.data_center] ?? "";
  return (
    <Section title={t("links")}>
      <Stack maw={480}>
        <TextInput
          {...form.field("base_url")}
          type="url"
          label={t("domain")}
          description={t("domainHint", { url: standard })}
          placeholder={standard}
          spellCheck={false}
        />
        {centers.length > 1 && (
          <NativeSelect
            {...form.field("data_center")}
            label={t("dataCenter")}
            description={t("dataCenterHint")}
            data={centers}
          />
        )}
        <TextInput
          {...form.field("link_days")}
          label={t("linkDays")}
          description={t("linkDaysHint", { n: start.default_link_days })}
          placeholder={String(start.default_link_days)}
          inputMode="numeric"
        />
      </Stack>
    </Section>
  );
}

function Parameters({ form }: { form: Form }) {
  return (
    <Section title={t("utm")} lead={t("utmLead")}>
      <Stack maw={480}>
        <Checkbox
          label={t("utmOn")}
          checked={form.values.utm}
          onChange={form.field("utm").onChange}
          error={form.errors.utm}
        />
        {form.values.utm && (
          <>
            <TextInput {...form.field("utm_source")} label={t("utm_source")} maxLength={200} spellCheck={false} />
            <TextInput {...form.field("utm_medium")} label={t("utm_medium")} maxLength={200} spellCheck={false} />
            <TextInput
              {...form.field("utm_campaign")}
              label={t("utm_campaign")}
              description={t("utmCampaignHint")}
              maxLength={200}
              spellCheck={false}
            />
            <Text size="sm" aria-live="polite">
              {t("example")} <Code style={{ overflowWrap: "anywhere" }}>{exampleLink(form.values)}</Code>
            </Text>
          </>
        )}
      </Stack>
    </Section>
  );
}
