/** The form of an existing connection: its name, fields, credentials and limits. The server checks before it stores. */
import { Button, Checkbox, Group, Stack, Text, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { type Connection, type Connector, changeConnection } from "@/api/connections";
import { Section } from "@/parts/Details";
import { Edited, useEdit } from "@/parts/Edited";
import { FormProblem } from "@/parts/FormProblem";
import { toast } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { CheckRefusal, isCheckRefusal } from "./CheckRefusal";
import { ConfigFields } from "./ConfigFields";
import { type ConfigValues, configChecks, configNames, configOf, configValues } from "./configForm";
import { t } from "./texts";

const LIMITS = { per_second: "perSecond", concurrency: "concurrency", validity: "validity" } as const;
type Limit = keyof typeof LIMITS;
const NAMES = Object.keys(LIMITS) as Limit[];

const aNumber = (value: string | boolean) => (value === "" || Number.isFinite(Number(value)) ? undefined : t("number"));

interface Props {
  connection: Connection;
  connector: Connector;
}

/** A new form after each save: what was typed as a secret does not stay in the page. */
export function EditConnection({ connection, connector }: Props) {
  const [saves, setSaves] = useState(0);
  return (
    <Edited data={connection}>
      {(one) => (
        <EditForm key={saves} connection={one} connector={connector} again={() => setSaves((count) => count + 1)} />
      )}
    </Edited>
  );
}

function EditForm({ connection, connector, again }: Props & { again: () => void }) {
  const { version, saved } = useEdit();
  const queries = useQueryClient();
  const { fields, regions } = connector;
  const limits = Object.fromEntries(
    NAMES.map((name) => [name, connection[name] === null ? "" : `${connection[name]}`]),
  );
  const start = configValues(fields, connection);
  const form = useForm({
    initial: { name: connection.name, ...limits, skip_check: false, ...start } as ConfigValues,
    checks: {
      name: (name: string | boolean) => (String(name).trim() ? undefined : t("nameMissing")),
      ...Object.fromEntries(NAMES.map((name) => [name, aNumber])),
      ...configChecks(fields, connection),
    },
    names: configNames(fields),
    send: (values) => {
      // Only a changed config is checked at the provider.
      const changed = Object.keys(start).some((key) => values[key] !== start[key]);
      const numbers = NAMES.map((name) => [name, values[name] === "" ? null : Number(values[name])]);
      const body = {
        name: String(values.name).trim(),
        ...Object.fromEntries(numbers),
        ...(changed && { config: configOf(fields, values, connection) }),
        ...(values.skip_check === true && { skip_check: true }),
      };
      return changeConnection(connection.id, body, version);
    },
    done: (result) => {
      toast(t("saved"));
      saved(result.updated_at);
      void queries.invalidateQueries({ queryKey: ["connections"] }).then(again);
    },
  });
  useGuard(form.changed);
  const { value, onChange, ...name } = form.field("name");
  const skip = form.field("skip_check");
  return (
    <Section title={t("edit")} lead={t("editLead")}>
      <form {...form.form} aria-label={t("edit")}>
        <Stack maw={560}>
          <TextInput {...name} value={String(value)} onChange={onChange} label={t("name")} required />
          <ConfigFields fields={fields} regions={regions} field={form.field} old={connection} />
          <Text size="sm" fw={500}>
            {t("limits")}
          </Text>
          <Text size="sm" c="dimmed">
            {t("limitsLead")}
          </Text>
          {NAMES.map((one) => {
            const { value, onChange, ...bound } = form.field(one);
            const used = connection.limits[one];
            return (
              <TextInput
                key={one}
                {...bound}
                value={String(value)}
                onChange={onChange}
                label={t(LIMITS[one])}
                description={used === null ? t("noLimit") : t("inEffect", { n: used })}
                inputMode="decimal"
              />
            );
          })}
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
              {t("save")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Section>
  );
}
