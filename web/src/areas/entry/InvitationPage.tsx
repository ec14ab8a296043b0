/** Joins a workspace by the link of an invitation. */
import { Button, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useState } from "react";
import { acceptInvitation } from "@/api/me";
import { FormProblem } from "@/parts/FormProblem";
import { useForm } from "@/parts/useForm";
import { readToken, useArrive } from "./arrive";
import { EntryPage } from "./EntryPage";
import { t } from "./texts";

export function InvitationPage() {
  const [token] = useState(readToken);
  const arrive = useArrive();
  const form = useForm({
    initial: { name: "", password: "" },
    send: (values) => acceptInvitation({ token, ...values }),
    done: arrive,
  });
  if (!token) return <EntryPage title={t("invitationTitle")}>{t("linkIncomplete")}</EntryPage>;
  return (
    <EntryPage title={t("invitationTitle")}>
      <form {...form.form}>
        <Stack>
          <TextInput {...form.field("name")} label={t("name")} autoComplete="name" required />
          <PasswordInput
            {...form.field("password")}
            label={t("password")}
            description={t("passwordHint")}
            autoComplete="new-password"
            required
          />
          <FormProblem problem={form.problem} />
          <Button type="submit" loading={form.pending}>
            {t("accept")}
          </Button>
        </Stack>
      </form>
    </EntryPage>
  );
}
