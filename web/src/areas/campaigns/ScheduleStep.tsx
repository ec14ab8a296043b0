/** When a campaign is sent, how fast, and how many are held out. */
import { Checkbox, Group, NativeSelect, Radio, Stack, Text, TextInput } from "@mantine/core";
import "@mantine/core/styles/Radio.css";
import { useQuery } from "@tanstack/react-query";
import { estimateQuery } from "@/api/campaigns";
import { useMay } from "@/api/me";
import { workspaceQuery } from "@/api/workspaces";
import { Section } from "@/parts/Details";
import { Loading } from "@/parts/States";
import { ZoneInput } from "@/parts/ZoneInput";
import { StepForm, type StepProps, useStep } from "./StepForm";
import { DAYS, type Day, KINDS, ownZone, readSchedule, type ScheduleFields, writeSchedule } from "./schedule";
import { t } from "./texts";
import { duration, namesNobody } from "./words";

export function ScheduleStep(props: StepProps) {
  const workspace = useQuery({ ...workspaceQuery, enabled: useMay()("settings.read") });
  if (workspace.isLoading) return <Loading />;
  return <Schedule {...props} zone={workspace.data?.time_zone ?? ownZone()} />;
}

function Schedule(props: StepProps & { zone: string }) {
  const { campaign, zone } = props;
  const { throttle } = campaign;
  const started = campaign.state === "live" || campaign.occurrences.length > 0;
  const minutely = throttle?.per_minute ?? (throttle?.per_second ? throttle.per_second * 60 : null);
  const form = useStep(props, {
    initial: {
      schedule: readSchedule(campaign, zone),
      throttle: minutely === null ? "" : String(minutely),
      holdout: campaign.holdout ? String(campaign.holdout * 100) : "",
    },
    write: ({ schedule, throttle: rate, holdout }) => ({
      throttle: rate ? { per_minute: Number(rate) } : null,
      ...(!started && { schedule: writeSchedule(schedule), holdout: Number(holdout || 0) / 100 }),
    }),
  });
  const estimate = useQuery({
    ...estimateQuery(campaign.id, campaign.version),
    enabled: !namesNobody(campaign.audience) && campaign.template_id !== null,
  }).data;
  const rate = Number(form.values.throttle);
  return (
    <StepForm label={t("step_schedule")} form={form as never}>
      {!started && (
        <When value={form.values.schedule} error={form.errors.schedule} change={(next) => form.set("schedule", next)} />
      )}
      <Section title={t("limits")}>
        <Stack maw={420}>
          <TextInput
            {...form.field("throttle")}
            label={t("perMinute")}
            description={t("perMinuteHint")}
            inputMode="decimal"
          />
          {estimate && rate > 0 && (
            <Text size="sm" role="status">
              {t("takes", { n: estimate.reach, time: duration(estimate.reach / rate) })}
            </Text>
          )}
          {!started && (
            <TextInput
              {...form.field("holdout")}
              label={t("holdout")}
              description={t("holdoutHint")}
              inputMode="decimal"
            />
          )}
        </Stack>
      </Section>
    </StepForm>
  );
}

interface WhenProps {
  value: ScheduleFields;
  error?: string;
  change: (next: ScheduleFields) => void;
}

function When({ value, error, change }: WhenProps) {
  const set = <Name extends keyof ScheduleFields>(name: Name) => ({
    value: value[name] as string,
    onChange: (event: { currentTarget: { value: string } }) => change({ ...value, [name]: event.currentTarget.value }),
  });
  return (
    <Section title={t("when")}>
      <Stack maw={480}>
        <Radio.Group
          aria-label={t("when")}
          value={value.kind}
          onChange={(kind) => change({ ...value, kind: kind as ScheduleFields["kind"] })}
          error={error}
        >
          <Stack gap="xs">
            {KINDS.map((kind) => (
              <Radio key={kind} value={kind} label={t(`kind_${kind}`)} />
            ))}
          </Stack>
        </Radio.Group>
        {(value.kind === "at" || value.kind === "local") && (
          <TextInput
            {...set("at")}
            type="datetime-local"
            label={t("at")}
            description={value.kind === "at" ? t("atHere", { zone: ownZone() }) : t("atLocal")}
          />
        )}
        {value.kind === "local" && (
          <NativeSelect
            {...set("late")}
            label={t("late")}
            data={(["skip", "now", "next_day"] as const).map((one) => ({ value: one, label: t(`late_${one}`) }))}
          />
        )}
        {value.kind === "recurring" && <Again value={value} set={set} change={change} />}
      </Stack>
    </Section>
  );
}

type SetField = (name: keyof ScheduleFields) => {
  value: string;
  onChange: (event: { currentTarget: { value: string } }) => void;
};

function Again({ value, set, change }: { value: ScheduleFields; set: SetField; change: WhenProps["change"] }) {
  return (
    <>
      <Group align="flex-end">
        <TextInput {...set("interval")} type="number" min={1} max={12} label={t("interval")} w={90} />
        <NativeSelect
          {...set("every")}
          label={t("every")}
          data={(["day", "week", "month"] as const).map((one) => ({ value: one, label: t(`every_${one}`) }))}
        />
      </Group>
      {value.every === "week" && (
        <Checkbox.Group
          label={t("weekdays")}
          value={value.weekdays}
          onChange={(days) => change({ ...value, weekdays: DAYS.filter((day) => days.includes(day)) as Day[] })}
        >
          <Group gap="sm" mt="xs">
            {DAYS.map((day) => (
              <Checkbox key={day} value={day} label={t(`day_${day}`)} />
            ))}
          </Group>
        </Checkbox.Group>
      )}
      {value.every === "month" && (
        <TextInput {...set("day")} type="number" min={1} max={31} label={t("monthDay")} w={140} />
      )}
      <Group align="flex-end">
        <TextInput {...set("time")} type="time" label={t("timeOfDay")} />
        <ZoneInput {...set("timezone")} label={t("zone")} />
        <TextInput {...set("endsOn")} type="date" label={t("endsOn")} />
      </Group>
    </>
  );
}
