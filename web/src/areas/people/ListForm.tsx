/** The settings of a list: its name, and whether and by which mail people are asked first. */
import { Anchor, Button, Checkbox, Group, NativeSelect, Stack, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMay } from "@/api/me";
import { templateNamesQuery } from "@/api/templates";
import { FormProblem } from "@/parts/FormProblem";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { t } from "./texts";

interface Values {
  name: string;
  double_opt_in: boolean;
  template_id: string | null;
}

interface Props<Result> {
  /** The name of the form. */
  label: string;
  /** The words of the button. */
  action: string;
  start: Values;
  send: (values: Values) => Promise<Result>;
  done: (result: Result) => void;
  close: () => void;
}

export function ListForm<Result>({ label, action, start, send, done, close }: Props<Result>) {
  const may = useMay()("templates.read");
  const templates = useQuery({ ...templateNamesQuery, enabled: may }).data?.data ?? [];
  const form = useForm({
    initial: { ...start, template_id: start.template_id ?? "" },
    checks: { name: (name) => (name.trim() ? undefined : t("listNameNeeded")) },
    send: (values) => send({ ...values, name: values.name.trim(), template_id: values.template_id || null }),
    done,
  });
  useGuard(form.changed && !form.pending && form.result === undefined);
  const twice = form.field("double_opt_in");
  const chosen = form.values.template_id;
  const mails = templates.filter(({ channel }) => channel === "email");
  const choices = mails.map(({ id, name }) => ({ value: id, label: name }));
  if (chosen && !choices.some(({ value }) => value === chosen)) choices.push({ value: chosen, label: chosen });
  return (
    <form {...form.form} aria-label={label}>
      <Stack maw={420}>
        <TextInput {...form.field("name")} label={t("name")} required withAsterisk={false} maxLength={200} />
        <Checkbox
          label={t("doubleOptIn")}
          description={t("doubleOptInHint")}
          checked={form.values.double_opt_in}
          onChange={twice.onChange}
          error={twice.error}
        />
        {form.values.double_opt_in && (
          <>
            <NativeSelect
              {...form.field("template_id")}
              label={t("confirmation")}
              description={t("confirmationHint", { variable: "{{ confirm_url }}" })}
              data={[{ value: "", label: t("confirmationOwn") }, ...choices]}
            />
            {chosen && (
              <Anchor component={Link} to={`/templates/${chosen}` as "/templates"} size="sm">
                {t("openTemplate")}
              </Anchor>
            )}
          </>
        )}
        <FormProblem problem={form.problem} />
        <Group>
          <Button type="submit" loading={form.pending}>
            {action}
          </Button>
          <Button variant="default" onClick={close}>
            {t("cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
