/** For how long the workspace keeps what happened: as long as the server, or for less time. */
import { Button, Stack, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { useMay } from "@/api/me";
import { changeWorkspace, type WorkspaceRetention, workspaceQuery } from "@/api/workspaces";
import { Section } from "@/parts/Details";
import { confirm } from "@/parts/dialogs";
import { FormProblem } from "@/parts/FormProblem";
import { toast } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { t } from "./texts";

const read = (days: number | null) => (days === null ? "" : String(days));
const write = (text: string) => (text.trim() ? Number(text) : null);

/** What is said of days that are no whole number, or more than the server keeps. */
function wrong(text: string, most: number): string | undefined {
  const days = write(text);
  return days === null || (Number.isInteger(days) && days >= 1 && days <= most) ? undefined : t("daysWrong", { most });
}

export function Retention({ retention }: { retention: WorkspaceRetention }) {
  const may = useMay()("settings.write");
  const queries = useQueryClient();
  const { event_days, attempt_days, server_event_days, server_attempt_days } = retention;
  const form = useForm({
    initial: { event_days: read(event_days), attempt_days: read(attempt_days) },
    send: (values) =>
      changeWorkspace({
        retention: { event_days: write(values.event_days), attempt_days: write(values.attempt_days) },
      }),
    checks: {
      event_days: (text) => wrong(text, server_event_days),
      attempt_days: (text) => wrong(text, server_attempt_days),
    },
    names: { "retention.event_days": "event_days", "retention.attempt_days": "attempt_days" },
    done: (saved) => {
      queries.setQueryData(workspaceQuery.queryKey, saved);
      toast(t("saved"));
    },
  });
  useGuard(form.changed && !form.pending);

  /** Less time deletes what cannot be brought back, so it asks first. */
  async function submit(event: FormEvent) {
    event.preventDefault();
    const less =
      (write(form.values.event_days) ?? server_event_days) < (event_days ?? server_event_days) ||
      (write(form.values.attempt_days) ?? server_attempt_days) < (attempt_days ?? server_attempt_days);
    const question = { title: t("lessQuestion"), body: t("lessBody"), action: t("lessKeep"), danger: true };
    if (!less || (await confirm(question))) form.submit();
  }

  return (
    <Section title={t("retention")} lead={t("retentionLead")}>
      <form {...form.form} onSubmit={(event) => void submit(event)} aria-label={t("retention")}>
        <Stack maw={480}>
          <TextInput
            {...form.field("event_days")}
            label={t("eventDays")}
            description={t("eventDaysHint", { n: server_event_days })}
            placeholder={String(server_event_days)}
            inputMode="numeric"
            readOnly={!may}
          />
          <TextInput
            {...form.field("attempt_days")}
            label={t("attemptDays")}
            description={t("attemptDaysHint", { n: server_attempt_days })}
            placeholder={String(server_attempt_days)}
            inputMode="numeric"
            readOnly={!may}
          />
          <FormProblem problem={form.problem} />
          {may && (
            <div>
              <Button type="submit" variant="default" loading={form.pending} disabled={!form.changed}>
                {t("saveRetention")}
              </Button>
            </div>
          )}
        </Stack>
      </form>
    </Section>
  );
}
