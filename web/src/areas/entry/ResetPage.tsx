/** Asks for a link to reset the password, or sets a new one if the page was opened by such a link. */
import { Alert, Anchor, Button, PasswordInput, Stack, TextInput } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { askForReset, resetPassword } from "@/api/me";
import { FormProblem } from "@/parts/FormProblem";
import { signInWords } from "@/parts/signInWords";
import { useForm } from "@/parts/useForm";
import { readToken } from "./arrive";
import { EntryPage } from "./EntryPage";
import { t } from "./texts";

export function ResetPage() {
  const [token] = useState(readToken);
  return token ? <NewPassword token={token} /> : <AskForLink />;
}

function AskForLink() {
  const [sent, setSent] = useState<string>();
  const form = useForm({ initial: { email: "" }, send: askForReset, done: (_, { email }) => setSent(email) });
  return (
    <EntryPage title={t("forgotTitle")} lead={sent ? undefined : t("forgotHint")}>
      <form {...form.form}>
        <Stack>
          {sent ? (
            <Alert role="status">{t("forgotSent", { email: sent })}</Alert>
          ) : (
            <TextInput {...form.field("email")} label={t("email")} type="email" autoComplete="username" required />
          )}
          <FormProblem problem={form.problem} words={signInWords} />
          {!sent && (
            <Button type="submit" loading={form.pending}>
              {t("sendLink")}
            </Button>
          )}
          <ToSignIn />
        </Stack>
      </form>
      <small>{t("forgotNoMail")}</small>
    </EntryPage>
  );
}

function NewPassword({ token }: { token: string }) {
  const [done, setDone] = useState(false);
  const form = useForm({
    initial: { password: "" },
    send: ({ password }) => resetPassword({ token, password }),
    done: () => setDone(true),
  });
  if (done) {
    return (
      <EntryPage title={t("resetTitle")}>
        <Alert role="status">{t("resetDone")}</Alert>
        <ToSignIn />
      </EntryPage>
    );
  }
  return (
    <EntryPage title={t("resetTitle")}>
      <form {...form.form}>
        <Stack>
          <PasswordInput
            {...form.field("password")}
            label={t("newPassword")}
            description={t("passwordHint")}
            autoComplete="new-password"
            required
          />
          <FormProblem problem={form.problem} />
          <Button type="submit" loading={form.pending}>
            {t("save")}
          </Button>
        </Stack>
      </form>
    </EntryPage>
  );
}

function ToSignIn() {
  return (
    <Anchor component={Link} to="/sign-in" size="sm" ta="center">
      {t("toSignIn")}
    </Anchor>
  );
}
