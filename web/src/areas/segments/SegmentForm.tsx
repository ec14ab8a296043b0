/** The form of a segment: name, condition as rows or as JSON, and who fits it while it is written. */
import { Button, Checkbox, Group as Line, SegmentedControl, Stack, TextInput } from "@mantine/core";
import "@mantine/core/styles/FloatingIndicator.css";
import "@mantine/core/styles/SegmentedControl.css";
import { useState } from "react";
import type { SegmentFields } from "@/api/segments";
import { FormProblem } from "@/parts/FormProblem";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { useCommandKey } from "@/parts/useKeys";
import { Builder } from "./Builder";
import classes from "./Builder.module.css";
import { type Group, isComplete, readCondition, writeCondition } from "./condition";
import { JsonView } from "./JsonView";
import { Preview } from "./Preview";
import { t } from "./texts";

interface Props<Result> {
  start: SegmentFields;
  /** The words of the button. */
  action: string;
  readOnly?: boolean;
  send: (fields: SegmentFields) => Promise<Result>;
  done: (result: Result) => void;
}

export function SegmentForm<Result>({ start, action, readOnly = false, send, done }: Props<Result>) {
  const [initial] = useState(() => ({
    name: start.name,
    tracked: start.tracked,
    condition: readCondition(start.condition) as Group,
  }));
  const [view, setView] = useState("builder");
  const form = useForm({
    initial,
    send: ({ name, tracked, condition }) => send({ name, tracked, condition: writeCondition(condition) }),
    checks: { condition: (group) => (isComplete(group) ? undefined : t("incomplete")) },
    done,
  });
  useGuard(form.changed && !form.pending);
  useCommandKey("s", form.submit, !readOnly);
  const { condition } = form.values;
  const set = (next: Group) => form.set("condition", next);
  return (
    <form {...form.form} aria-label={t("condition")}>
      <Stack>
        <TextInput
          {...form.field("name")}
          label={t("name")}
          required
          withAsterisk={false}
          maw={420}
          maxLength={200}
          readOnly={readOnly}
        />
        <SegmentedControl
          aria-label={t("view")}
          value={view}
          onChange={setView}
          data={[
            { value: "builder", label: t("builder") },
            { value: "json", label: t("json") },
          ]}
          style={{ alignSelf: "flex-start" }}
        />
        {/* Who may only read sees the condition and changes nothing of it. */}
        <fieldset disabled={readOnly} className={classes.fields}>
          {view === "builder" ? (
            <Builder group={condition} change={set} />
          ) : (
            <JsonView condition={condition} change={set} />
          )}
        </fieldset>
        {form.errors.condition && (
          <div role="alert" style={{ color: "var(--mantine-color-error)" }}>
            {form.errors.condition}
          </div>
        )}
        <Preview condition={condition} />
        <Checkbox
          label={t("trackedLabel")}
          description={t("trackedHint")}
          checked={form.values.tracked}
          onChange={form.field("tracked").onChange}
          disabled={readOnly}
        />
        <FormProblem problem={form.problem} />
        {!readOnly && (
          <Line>
            <Button type="submit" loading={form.pending}>
              {action}
            </Button>
          </Line>
        )}
      </Stack>
    </form>
  );
}
