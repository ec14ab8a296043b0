/** The sending rules: when people get nothing, and how much they get at most. */
import { Anchor, Button, Group, Stack, Text } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { useMay } from "@/api/me";
import { Problem } from "@/api/problem";
import { type SendingRules, sendingRulesQuery, setSendingRules } from "@/api/sendingRules";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Section } from "@/parts/Details";
import { ConflictAlert } from "@/parts/Edited";
import { FormProblem } from "@/parts/FormProblem";
import { States } from "@/parts/States";
import { toast, toastError } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { useCommandKey } from "@/parts/useKeys";
import { CapRuleFields, QuietHoursFields, RuleFrame } from "./RuleFields";
import classes from "./RuleFields.module.css";
import { lacksLimit, lacksTimes, newCap, newQuiet, type RulesFields, readRules, writeRules } from "./rules";
import { SettingsFrame } from "./SettingsFrame";
import { rich, t } from "./sendingTexts";

export function SendingRulesPage() {
  const query = useQuery(sendingRulesQuery);
  return (
    <SettingsFrame>
      <States query={query}>{(rules) => <Rules start={rules} />}</States>
    </SettingsFrame>
  );
}

function Rules({ start }: { start: SendingRules }) {
  const may = useMay()("settings.write");
  const queries = useQueryClient();
  /** The version that was read: the server refuses to overwrite a later one. */
  const version = useRef(start.version);
  const [initial] = useState(() => readRules(start));
  const form = useForm({
    initial,
    send: (values) => setSendingRules({ ...writeRules(values), version: version.current }),
    checks: {
      quiet_hours: (rules) => (rules.some(lacksTimes) ? t("timesNeeded") : undefined),
      frequency_caps: (rules) => (rules.some(lacksLimit) ? t("limitsNeeded") : undefined),
    },
    done: (saved) => {
      version.current = saved.version;
      queries.setQueryData(sendingRulesQuery.queryKey, saved);
      toast(t("saved"));
    },
  });
  useGuard(form.changed && !form.pending);
  useCommandKey("s", form.submit, may);

  // Somebody else changed them: shown at once, unless something is typed here.
  // biome-ignore lint/correctness/useExhaustiveDependencies: only another version is a reason.
  useEffect(() => {
    if (start.version !== version.current && !form.changed && !form.pending) take(start);
  }, [start.version]);

  function take(rules: SendingRules) {
    version.current = rules.version;
    form.reset(readRules(rules));
  }

  const conflict = form.problem instanceof Problem && form.problem.code === "version_changed";
  return (
    <form {...form.form} aria-label={t("formName")}>
      <fieldset disabled={!may} className={classes.plain}>
        <Stack>
          <Text size="sm">{rich("zone", { zone: <b>{start.timezone}</b>, link: <WorkspaceLink /> })}</Text>
          <Quiet form={form} />
          <Caps form={form} />
          {conflict ? (
            <Conflict
              keepMine={(newest) => {
                version.current = newest.version;
                form.submit();
              }}
              takeTheirs={take}
            />
          ) : (
            <FormProblem problem={form.problem} />
          )}
          <Group>
            {may && (
              <Button type="submit" loading={form.pending} disabled={!form.changed}>
                {t("save")}
              </Button>
            )}
            <CopyAsCurl
              method="PUT"
              path="/v1/sending-rules"
              body={{ ...writeRules(form.values), version: version.current }}
            />
          </Group>
        </Stack>
      </fieldset>
    </form>
  );
}

type Form = ReturnType<typeof useForm<RulesFields, SendingRules>>;

function WorkspaceLink() {
  return (
    <Anchor component={Link} to="/settings/workspace" inherit style={{ textDecoration: "underline" }}>
      {t("workspaceLink")}
    </Anchor>
  );
}

/** The error of a list of rules, unless it stands beside a field of one. */
function ListError({ form, name }: { form: Form; name: "quiet_hours" | "frequency_caps" }) {
  const error = form.errors[name];
  if (!error || form.isInside(name)) return null;
  return (
    <Text size="sm" c="var(--mantine-color-error)" role="alert">
      {error}
    </Text>
  );
}

function Quiet({ form }: { form: Form }) {
  const rules = form.values.quiet_hours;
  return (
    <Section
      title={t("quietHours")}
      lead={t("quietLead")}
      actions={
        <Button variant="default" size="xs" onClick={() => form.set("quiet_hours", [...rules, newQuiet()])}>
          {t("addQuiet")}
        </Button>
      }
    >
      {rules.length === 0 && <Text size="sm">{t("noQuiet")}</Text>}
      {rules.map((rule, index) => (
        <RuleFrame
          key={rule.key}
          title={t("quiet", { n: index + 1 })}
          remove={{
            label: t("removeQuiet", { n: index + 1 }),
            run: () => form.set("quiet_hours", rules.toSpliced(index, 1)),
          }}
        >
          <QuietHoursFields
            rule={rule}
            change={(next) => form.set("quiet_hours", rules.with(index, next))}
            error={(name) => form.errorAt(`quiet_hours.${index}.${name}`)}
            checked={form.errors.quiet_hours !== undefined}
          />
        </RuleFrame>
      ))}
      <ListError form={form} name="quiet_hours" />
    </Section>
  );
}

function Caps({ form }: { form: Form }) {
  const rules = form.values.frequency_caps;
  return (
    <Section
      title={t("caps")}
      lead={t("capsLead")}
      actions={
        <Button variant="default" size="xs" onClick={() => form.set("frequency_caps", [...rules, newCap()])}>
          {t("addCap")}
        </Button>
      }
    >
      {rules.length === 0 && <Text size="sm">{t("noCaps")}</Text>}
      {rules.map((rule, index) => (
        <RuleFrame
          key={rule.key}
          title={t("cap", { n: index + 1 })}
          remove={{
            label: t("removeCap", { n: index + 1 }),
            run: () => form.set("frequency_caps", rules.toSpliced(index, 1)),
          }}
        >
          <CapRuleFields
            rule={rule}
            change={(next) => form.set("frequency_caps", rules.with(index, next))}
            error={(name) => form.errorAt(`frequency_caps.${index}.${name}`)}
            checked={form.errors.frequency_caps !== undefined}
          />
        </RuleFrame>
      ))}
      <ListError form={form} name="frequency_caps" />
    </Section>
  );
}

interface ConflictProps {
  keepMine: (newest: SendingRules) => void;
  takeTheirs: (newest: SendingRules) => void;
}

function Conflict({ keepMine, takeTheirs }: ConflictProps) {
  const queries = useQueryClient();
  const newest = useQuery({ ...sendingRulesQuery, staleTime: 0, refetchOnMount: "always" });
  const withNewest = (then: (rules: SendingRules) => void) =>
    void queries.fetchQuery({ ...sendingRulesQuery, staleTime: 0 }).then(then, toastError);
  const { quiet_hours, frequency_caps } = newest.data ?? {};
  return (
    <ConflictAlert
      theirs={newest.data && { quiet_hours, frequency_caps }}
      keepMine={() => withNewest(keepMine)}
      takeTheirs={() => withNewest(takeTheirs)}
    />
  );
}
