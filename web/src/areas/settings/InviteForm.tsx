/** Invites somebody; shows the link for when mail does not arrive. */
import { Button, Group, NativeSelect, Stack, Text, TextInput } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { invite, rolesQuery } from "@/api/users";
import { CodeBlock } from "@/parts/CodeBlock";
import { FormProblem } from "@/parts/FormProblem";
import { useForm } from "@/parts/useForm";
import { t } from "./texts";

export function InviteForm({ close }: { close: () => void }) {
  const roles = useQuery(rolesQuery).data?.data ?? [];
  const queries = useQueryClient();
  const form = useForm({
    initial: { email: "", role: "viewer" },
    send: invite,
    done: () => void queries.invalidateQueries({ queryKey: ["invitations"] }),
  });
  const made = form.result;
  if (made) {
    return (
      <Stack role="status">
        <Text size="sm">{t("invited", { email: made.email })}</Text>
        <CodeBlock text={made.url} hiddenLabel={t("invitationLink")} wrap />
        <Group>
          <Button variant="default" onClick={() => form.reset()}>
            {t("inviteTitle")}
          </Button>
          <Button onClick={close}>{t("done")}</Button>
        </Group>
      </Stack>
    );
  }
  const about = roles.find(({ role }) => role === form.values.role)?.description;
  return (
    <form {...form.form} aria-label={t("inviteTitle")}>
      <Stack maw={420}>
        <TextInput {...form.field("email")} label={t("email")} type="email" required withAsterisk={false} />
        <NativeSelect
          {...form.field("role")}
          label={t("role")}
          description={about}
          data={roles.length > 0 ? roles.map(({ role }) => role) : [form.values.role]}
        />
        <FormProblem problem={form.problem} />
        <Group>
          <Button type="submit" loading={form.pending}>
            {t("invite")}
          </Button>
          <Button variant="default" onClick={close}>
            {t("cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
