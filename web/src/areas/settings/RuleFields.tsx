/** The fields of one sending rule: quiet hours or a frequency cap. */
import { Button, Checkbox, Group, NativeSelect, Paper, Stack, Text, TextInput } from "@mantine/core";
import type { ReactNode } from "react";
import { DurationField } from "@/parts/DurationField";
import classes from "./RuleFields.module.css";
import { ACTIONS, type CapFields, CHANNELS, DAYS, lacksLimit, PERIODS, PURPOSES, type QuietFields } from "./rules";
import { t } from "./sendingTexts";

/** Rules know no weeks. */
const UNITS = ["m", "h", "d"] as const;

interface Props<Fields> {
  rule: Fields;
  change: (next: Fields) => void;
  /** What the server says of a field of this rule. */
  error: (field: string) => string | undefined;
  /** Whether fields that are needed are marked when they are empty. */
  checked: boolean;
}

interface FrameProps {
  title: string;
  remove: { label: string; run: () => void };
  children: ReactNode;
}

export function RuleFrame({ title, remove, children }: FrameProps) {
  return (
    <Paper component="fieldset" withBorder p="md" m={0} miw={0}>
      <legend className={classes.legend}>{title}</legend>
      <Stack gap="sm">
        {children}
        <div>
          <Button size="compact-sm" variant="default" aria-label={remove.label} onClick={remove.run}>
            {t("remove")}
          </Button>
        </div>
      </Stack>
    </Paper>
  );
}

type Shared = Pick<QuietFields, "channel" | "purpose" | "action" | "max_hold">;

interface CommonProps {
  rule: Shared;
  change: (part: Partial<Shared>) => void;
  error: (field: string) => string | undefined;
}

/** What both kinds have: which messages, and what becomes of them. */
function Common({ rule, change, error }: CommonProps) {
  return (
    <div className={classes.row}>
      <NativeSelect
        label={t("channel")}
        value={rule.channel}
        error={error("channel")}
        onChange={(event) => change({ channel: event.currentTarget.value as Shared["channel"] })}
        data={CHANNELS.map((value) => ({ value, label: t(`channel_${value || "all"}`) }))}
      />
      <NativeSelect
        label={t("purpose")}
        value={rule.purpose}
        error={error("purpose")}
        onChange={(event) => change({ purpose: event.currentTarget.value as Shared["purpose"] })}
        data={PURPOSES.map((value) => ({ value, label: t(`purpose_${value}`) }))}
      />
      <NativeSelect
        label={t("action")}
        value={rule.action}
        error={error("action")}
        onChange={(event) => change({ action: event.currentTarget.value as Shared["action"] })}
        data={ACTIONS.map((value) => ({ value, label: t(`action_${value}`) }))}
      />
    </div>
  );
}

function MaxHold({ rule, change, error }: CommonProps) {
  return (
    <DurationField
      units={UNITS}
      label={t("maxHold")}
      description={t("maxHoldHint")}
      value={rule.max_hold}
      error={error("max_hold")}
      onChange={(next) => change({ max_hold: next })}
    />
  );
}

export function QuietHoursFields({ rule, change, error, checked }: Props<QuietFields>) {
  const time = (name: "from" | "to") => (
    <TextInput
      type="time"
      label={t(name)}
      value={rule[name]}
      error={error(name) ?? (checked && !rule[name])}
      onChange={(event) => change({ ...rule, [name]: event.currentTarget.value })}
    />
  );
  return (
    <>
      <Common rule={rule} change={(part) => change({ ...rule, ...part })} error={error} />
      <Group align="flex-end">
        {time("from")}
        {time("to")}
        {rule.from && rule.to && rule.to <= rule.from && (
          <Text size="sm" c="dimmed" pb={8}>
            {t("nextDay")}
          </Text>
        )}
      </Group>
      <Strip from={rule.from} to={rule.to} />
      <Checkbox.Group
        label={t("days")}
        value={rule.days}
        error={error("days")}
        onChange={(days) => change({ ...rule, days: DAYS.filter((day) => days.includes(day)) })}
      >
        <Group gap="sm" mt="xs">
          {DAYS.map((day) => (
            <Checkbox key={day} value={day} label={t(`day_${day}`)} error={checked && rule.days.length === 0} />
          ))}
        </Group>
      </Checkbox.Group>
      {rule.action === "hold" && (
        <div className={classes.row}>
          <MaxHold rule={rule} change={(part) => change({ ...rule, ...part })} error={error} />
          <DurationField
            units={UNITS}
            label={t("jitter")}
            description={t("jitterHint")}
            value={rule.jitter}
            error={error("jitter")}
            onChange={(next) => change({ ...rule, jitter: next })}
          />
        </div>
      )}
    </>
  );
}

const minutes = (time: string) => Number(time.slice(0, 2)) * 60 + Number(time.slice(3, 5));
const DAY_MINUTES = 24 * 60;

/** The window on a strip of 24 hours; what it shows stands in the fields as well. */
function Strip({ from, to }: { from: string; to: string }) {
  if (!from || !to) return null;
  const [start, end] = [minutes(from), minutes(to)];
  const parts = start < end ? [[start, end]] : [[start, DAY_MINUTES], ...(end > 0 ? [[0, end]] : [])];
  return (
    <div aria-hidden className={classes.strip}>
      {parts.map(([begin = 0, until = 0]) => (
        <span
          key={begin}
          className={classes.quiet}
          style={{
            insetInlineStart: `${(begin / DAY_MINUTES) * 100}%`,
            inlineSize: `${((until - begin) / DAY_MINUTES) * 100}%`,
          }}
        />
      ))}
    </div>
  );
}

export function CapRuleFields({ rule, change, error, checked }: Props<CapFields>) {
  return (
    <>
      <Common rule={rule} change={(part) => change({ ...rule, ...part })} error={error} />
      <div className={classes.row}>
        <TextInput
          label={t("limit")}
          inputMode="numeric"
          value={rule.limit}
          error={error("limit") ?? (checked && lacksLimit(rule))}
          onChange={(event) => change({ ...rule, limit: event.currentTarget.value })}
        />
        <NativeSelect
          label={t("period")}
          value={rule.period}
          error={error("per")}
          onChange={(event) => change({ ...rule, period: event.currentTarget.value as CapFields["period"] })}
          data={PERIODS.map((value) => ({ value, label: t(`period_${value}`) }))}
        />
        {rule.period === "within" && (
          <DurationField
            units={UNITS}
            label={t("within")}
            value={rule.within}
            error={error("within")}
            onChange={(next) => change({ ...rule, within: next })}
          />
        )}
      </div>
      {rule.action === "hold" && <MaxHold rule={rule} change={(part) => change({ ...rule, ...part })} error={error} />}
    </>
  );
}
