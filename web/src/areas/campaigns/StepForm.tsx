/** What all steps have in common: the form, the error that belongs to no field, and the buttons. */
import { Button, Group, Stack } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { type Campaign, type Change, changeCampaign } from "@/api/campaigns";
import { useMay } from "@/api/me";
import { useEdit } from "@/parts/Edited";
import { FormProblem } from "@/parts/FormProblem";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { useCommandKey } from "@/parts/useKeys";
import { t } from "./texts";

export interface StepProps {
  campaign: Campaign;
  goOn: () => void;
}

interface Options<Values extends object> {
  initial: Values;
  write: (values: Values) => Change;
  names?: Readonly<Record<string, keyof Values & string>>;
  checks?: { [Key in keyof Values]?: (value: Values[Key], values: Values) => string | undefined };
}

/** The form of a step, which sends only what the step sets. */
export function useStep<Values extends object>({ campaign, goOn }: StepProps, options: Options<Values>) {
  const queries = useQueryClient();
  const { version, saved } = useEdit();
  const form = useForm({
    initial: options.initial,
    names: options.names,
    checks: options.checks,
    send: (values) => changeCampaign(campaign.id, options.write(values), version),
    done: (changed) => {
      saved(changed.updated_at);
      queries.setQueryData(["campaigns", campaign.id], changed);
      void queries.invalidateQueries({ queryKey: ["campaigns", "list"] });
      goOn();
    },
  });
  useGuard(form.changed && !form.pending);
  useCommandKey("s", form.submit);
  return form;
}

interface Props {
  label: string;
  form: Pick<ReturnType<typeof useForm>, "form" | "problem" | "pending">;
  children: ReactNode;
}

export function StepForm({ label, form, children }: Props) {
  const may = useMay()("campaigns.write");
  return (
    <form {...form.form} aria-label={label}>
      <Stack>
        {children}
        <FormProblem problem={form.problem} />
        {may && (
          <Group>
            <Button type="submit" loading={form.pending}>
              {t("saveNext")}
            </Button>
          </Group>
        )}
      </Stack>
    </form>
  );
}
