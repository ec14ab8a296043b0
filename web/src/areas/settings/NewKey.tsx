/** Makes an API key with scopes, or single permissions, and shows it once. */
import { Button, Checkbox, Group, NativeSelect, Radio, Stack, TextInput } from "@mantine/core";
import "@mantine/core/styles/Radio.css";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createKey } from "@/api/keys";
import { rolesQuery } from "@/api/users";
import { FormProblem } from "@/parts/FormProblem";
import { SecretOnce } from "@/parts/SecretOnce";
import { useForm } from "@/parts/useForm";
import { t } from "./texts";

const SCOPES = ["ingest", "read", "manage"] as const;
const DAYS = [30, 90, 365] as const;
const DAY_MS = 86_400_000;

export function NewKey({ close }: { close: () => void }) {
  const queries = useQueryClient();
  const permissions = useQuery(rolesQuery).data?.permissions ?? [];
  const form = useForm({
    initial: { name: "", scope: "ingest", single: [] as string[], days: "" },
    send: ({ name, scope, single, days }) =>
      createKey({
        name,
        scopes: scope === "single" ? single : [scope],
        ...(days && { expires_at: new Date(Date.now() + Number(days) * DAY_MS).toISOString() }),
      }),
    checks: {
      single: (single, { scope }) => (scope === "single" && single.length === 0 ? t("singleNeeded") : undefined),
    },
    names: { scopes: "scope", expires_at: "days" },
    done: () => void queries.invalidateQueries({ queryKey: ["keys"] }),
  });
  const made = form.result;
  if (made) {
    const name = made.scopes.join() === "ingest" ? "WAYPOST_WRITE_KEY" : "WAYPOST_API_KEY";
    return (
      <SecretOnce label={t("keyCreated", { name: made.name })} text={`${name}=${made.key}`}>
        <div>
          <Button size="xs" onClick={close}>
            {t("done")}
          </Button>
        </div>
      </SecretOnce>
    );
  }
  const scope = form.field("scope");
  return (
    <form {...form.form} aria-label={t("newKey")}>
      <Stack maw={520}>
        <TextInput
          {...form.field("name")}
          label={t("name")}
          description={t("keyNamed")}
          required
          withAsterisk={false}
        />
        <Radio.Group
          label={t("scopes")}
          name="scope"
          value={scope.value}
          error={scope.error}
          onChange={(value) => scope.onChange(value)}
        >
          <Stack gap="xs" mt="xs">
            {SCOPES.map((one) => (
              <Radio key={one} value={one} label={t(`scope_${one}`)} description={t(`scope_${one}_hint`)} />
            ))}
            {permissions.length > 0 && (
              <Radio value="single" label={t("scope_single")} description={t("scope_single_hint")} />
            )}
          </Stack>
        </Radio.Group>
        {form.values.scope === "single" && (
          <Checkbox.Group
            label={t("permissions")}
            error={form.errors.single}
            value={form.values.single}
            onChange={(value) => form.set("single", value)}
          >
            <Stack gap={6} mt="xs">
              {permissions
                .filter(({ name }) => name !== "workspace.delete")
                .map(({ name, description }) => (
                  <Checkbox key={name} value={name} label={name} description={description} />
                ))}
            </Stack>
          </Checkbox.Group>
        )}
        <NativeSelect
          {...form.field("days")}
          label={t("expiry")}
          data={[
            { value: "", label: t("expiry_never") },
            ...DAYS.map((n) => ({ value: String(n), label: t("expiry_days", { n }) })),
          ]}
        />
        <FormProblem problem={form.problem} />
        <Group>
          <Button type="submit" loading={form.pending}>
            {t("createKey")}
          </Button>
          <Button variant="default" onClick={close}>
            {t("cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
