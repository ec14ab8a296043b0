/** Fields of the content step: the best variant, what counts as success, UTM parameters, and tracking. */
import { Checkbox, NativeSelect, Radio, Stack, TextInput } from "@mantine/core";
import "@mantine/core/styles/Radio.css";
import { useQuery } from "@tanstack/react-query";
import { useId } from "react";
import { useMay } from "@/api/me";
import { metricNamesQuery } from "@/api/segments";
import { Section } from "@/parts/Details";
import { DurationField } from "@/parts/DurationField";
import { type Extras, MEASURES, TRACKED } from "./extras";
import { t } from "./texts";

interface Props {
  value: Extras;
  change: (next: Extras) => void;
  /** What the server says of a field: `test.after`. */
  errorAt: (path: string) => string | undefined;
}

export function Winner({ value, change, errorAt, channel }: Props & { channel: string }) {
  return (
    <Section title={t("winnerTitle")} lead={t("winnerLead")}>
      <Stack maw={480}>
        <Checkbox
          label={t("winnerOn")}
          checked={value.winner}
          onChange={(event) => change({ ...value, winner: event.currentTarget.checked })}
        />
        {value.winner && (
          <>
            <TextInput
              label={t("sample")}
              inputMode="decimal"
              value={value.sample}
              error={errorAt("test.sample")}
              onChange={(event) => change({ ...value, sample: event.currentTarget.value })}
            />
            <NativeSelect
              label={t("winnerBy")}
              description={channel === "email" ? t("winnerByHint") : undefined}
              value={value.winner_by}
              error={errorAt("test.winner_by")}
              onChange={(event) => change({ ...value, winner_by: event.currentTarget.value as Extras["winner_by"] })}
              data={MEASURES.filter((one) => one !== "opens" || channel === "email").map((one) => ({
                value: one,
                label: t(`winnerBy_${one}`),
              }))}
            />
            <DurationField
              label={t("decideAfter")}
              value={value.after}
              error={errorAt("test.after")}
              onChange={(after) => change({ ...value, after })}
            />
            <TextInput
              label={t("minimum")}
              description={t("minimumHint")}
              inputMode="numeric"
              value={value.minimum}
              error={errorAt("test.minimum")}
              onChange={(event) => change({ ...value, minimum: event.currentTarget.value })}
            />
          </>
        )}
      </Stack>
    </Section>
  );
}

export function Goal({ value, change, errorAt }: Props) {
  const id = useId();
  const may = useMay()("events.read");
  const metrics = useQuery({ ...metricNamesQuery, enabled: may }).data?.data ?? [];
  return (
    <Section title={t("goal")} lead={t("goalLead")}>
      <Stack maw={480}>
        <TextInput
          label={t("goalEvent")}
          description={t("goalEventHint")}
          value={value.event}
          error={errorAt("conversion.event") ?? errorAt("conversion")}
          onChange={(event) => change({ ...value, event: event.currentTarget.value })}
          list={id}
          maxLength={200}
        />
        <datalist id={id}>
          {metrics.map((metric) => (
            <option key={metric.id} value={metric.name} />
          ))}
        </datalist>
        {value.event.trim() && (
          <DurationField
            label={t("goalWithin")}
            value={value.within}
            error={errorAt("conversion.within")}
            onChange={(within) => change({ ...value, within })}
          />
        )}
      </Stack>
    </Section>
  );
}

export function Utm({ value, change, errorAt }: Props) {
  const line = (name: "source" | "medium" | "campaign", description?: string) => (
    <TextInput
      label={t(`utm_${name}`)}
      description={description}
      value={value[name]}
      error={errorAt(`utm.${name}`)}
      onChange={(event) => change({ ...value, [name]: event.currentTarget.value })}
      maxLength={200}
      spellCheck={false}
    />
  );
  return (
    <Section title={t("utm")} lead={t("utmLead")}>
      <Stack maw={480}>
        <Radio.Group
          aria-label={t("utm")}
          value={value.own_utm ? "own" : "workspace"}
          onChange={(chosen) => change({ ...value, own_utm: chosen === "own" })}
        >
          <Stack gap="xs">
            {(["workspace", "own"] as const).map((one) => (
              <Radio key={one} value={one} label={t(`utm_${one}`)} />
            ))}
          </Stack>
        </Radio.Group>
        {value.own_utm && (
          <>
            {line("source")}
            {line("medium")}
            {line("campaign", t("utmCampaignHint"))}
          </>
        )}
      </Stack>
    </Section>
  );
}

export function Tracking({ value, change }: Omit<Props, "errorAt">) {
  return (
    <Section title={t("tracking")} lead={t("trackingLead")}>
      <Stack maw={480}>
        {(["opens", "clicks"] as const).map((one) => (
          <NativeSelect
            key={one}
            label={t(`tracking_${one}`)}
            value={value[one]}
            onChange={(event) => change({ ...value, [one]: event.currentTarget.value as Extras["opens"] })}
            data={TRACKED.map((choice) => ({ value: choice, label: t(`tracked_${choice}`) }))}
          />
        ))}
      </Stack>
    </Section>
  );
}
