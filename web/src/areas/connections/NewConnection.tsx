/** The form for a new connection of one connector; it ends with the key that the provider needs for receipts. */
import { Button, Checkbox, Group, Stack, Text, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type Connector, createConnection } from "@/api/connections";
import { CodeBlock } from "@/parts/CodeBlock";
import { FormProblem } from "@/parts/FormProblem";
import { SecretOnce } from "@/parts/SecretOnce";
import { toast } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { useCommandKey } from "@/parts/useKeys";
import { CheckRefusal, isCheckRefusal } from "./CheckRefusal";
import { ConfigFields } from "./ConfigFields";
import { type ConfigValues, configChecks, configNames, configOf, configValues } from "./configForm";
import { t } from "./texts";

export function NewConnection({ connector }: { connector: Connector }) {
  const { fields, regions } = connector;
  const queries = useQueryClient();
  const form = useForm({
    initial: { name: "", data_center: "", skip_check: false, ...configValues(fields) } as ConfigValues,
    checks: {
      name: (name: string | boolean) => (String(name).trim() ? undefined : t("nameMissing")),
      ...configChecks(fields),
    },
    names: configNames(fields),
    send: (values) =>
      createConnection({
        name: String(values.name).trim(),
        connector: connector.name,
        config: configOf(fields, values),
        ...(values.data_center && { data_center: String(values.data_center) }),
        ...(values.skip_check === true && { skip_check: true }),
      }),
    done: () => {
      toast(t("created"));
      void queries.invalidateQueries({ queryKey: ["connections"] });
    },
  });
  useGuard(form.changed && !form.pending);
  useCommandKey("s", form.submit);
  const made = form.result;
  if (made) {
    return (
      <SecretOnce label={t("receiptsKey")} text={made.access_key_for_receipts}>
        <Text size="sm">{t("receiptsKeyLead")}</Text>
        <CodeBlock
          label={made.tracker_url ? t("trackerUrl") : t("callbackUrl")}
          text={made.tracker_url ?? made.callback_url}
          wrap
        />
        <div>
          <Button component={Link} to="/connections/$id" params={{ id: made.id } as never}>
            {t("toConnection")}
          </Button>
        </div>
      </SecretOnce>
    );
  }
  const { value, onChange, ...name } = form.field("name");
  const center = form.field("data_center");
  const skip = form.field("skip_check");
  const tracker = connector.tracker_urls[String(center.value).trim() || "global"];
  return (
    <form {...form.form}>
      <Stack maw={560}>
        {tracker && (
          <div>
            <CodeBlock label={t("trackerBefore")} text={tracker} wrap />
            <Text size="sm" c="dimmed">
              {t("trackerBeforeLead")}
            </Text>
          </div>
        )}
        <TextInput
          {...name}
          value={String(value)}
          onChange={onChange}
          label={t("name")}
          description={t("nameHint")}
          required
        />
        <ConfigFields fields={fields.filter(isNeeded)} regions={regions} field={form.field} />
        {fields.some((field) => !isNeeded(field)) && (
          <Text fw={500} size="sm">
            {t("optional")}
          </Text>
        )}
        <ConfigFields fields={fields.filter((field) => !isNeeded(field))} regions={regions} field={form.field} />
        <TextInput
          name="data_center"
          value={String(center.value)}
          onChange={center.onChange}
          error={center.error}
          label={t("dataCenter")}
          description={t("dataCenterHint")}
        />
        {form.problem && "extra" in form.problem && isCheckRefusal(form.problem as never) ? (
          <>
            <CheckRefusal problem={form.problem as never} />
            <Checkbox
              name="skip_check"
              checked={skip.value === true}
              onChange={skip.onChange}
              label={t("skipCheck")}
              description={t("skipCheckHint")}
            />
          </>
        ) : (
          <FormProblem problem={form.problem} />
        )}
        <Group>
          <Button type="submit" loading={form.pending}>
            {t("create")}
          </Button>
          <Button component={Link} to="/connections" variant="default">
            {t("cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

const isNeeded = ({ required }: Connector["fields"][number]) => required;
