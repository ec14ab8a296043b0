/** Who needs a second factor, and who of the people shown lacks one. */
import { Radio, Stack, Text } from "@mantine/core";
import "@mantine/core/styles/Radio.css";
import { useQuery } from "@tanstack/react-query";
import { useMay } from "@/api/me";
import { usersQuery } from "@/api/users";
import type { MfaRule } from "@/api/workspaces";
import type { Field } from "@/parts/useForm";
import { t } from "./texts";

const RULES = [
  { value: "optional", name: "mfaOptional" },
  { value: "changes", name: "mfaChanges" },
  { value: "required", name: "mfaRequired" },
] as const;

export function MfaChoice({ field, disabled }: { field: Field<MfaRule>; disabled: boolean }) {
  const may = useMay()("users.read");
  const people = useQuery({ ...usersQuery(), enabled: may && field.value !== "optional" }).data?.data ?? [];
  const lacking = people.filter(({ totp, passkeys }) => !totp && passkeys === 0);
  return (
    <Radio.Group
      label={t("mfaRule")}
      name={field.name}
      value={field.value}
      error={field.error}
      onChange={(value) => field.onChange(value as MfaRule)}
    >
      <Stack gap="xs" mt="xs">
        {RULES.map(({ value, name }) => (
          <Radio key={value} value={value} label={t(name)} disabled={disabled} />
        ))}
        {field.value !== "optional" && people.length > 0 && (
          <Text size="sm" c="dimmed">
            {t("mfaLacking", { n: lacking.length, names: lacking.map(({ name, email }) => name || email).join(", ") })}
          </Text>
        )}
      </Stack>
    </Radio.Group>
  );
}
