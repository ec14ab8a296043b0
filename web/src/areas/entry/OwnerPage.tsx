/** Creates the first owner, with the code that the server printed. */
import { Button, PasswordInput, Stack, TextInput } from "@mantine/core";
import { makeOwner } from "@/api/me";
import { FormProblem } from "@/parts/FormProblem";
import { signInWords } from "@/parts/signInWords";
import { useForm } from "@/parts/useForm";
import { useArrive } from "./arrive";
import { EntryPage } from "./EntryPage";
import { t } from "./texts";

export function OwnerPage() {
  const arrive = useArrive();
  const form = useForm({
    initial: { code: "", email: "", password: "", name: "", workspace: "" },
    send: ({ code, email, password, name, workspace }) =>
      makeOwner({
        code: code.trim(),
        email: email.trim(),
        password,
        ...(name.trim() && { name: name.trim() }),
        ...(workspace.trim() && { workspace: workspace.trim() }),
      }),
    done: arrive,
  });
  return (
    <EntryPage title={t("ownerTitle")} lead={t("ownerHint")}>
      <form {...form.form}>
        <Stack>
          <TextInput {...form.field("code")} label={t("oneTimeCode")} autoComplete="off" spellCheck={false} required />
          <TextInput {...form.field("name")} label={t("name")} autoComplete="name" />
          <TextInput {...form.field("email")} label={t("email")} type="email" autoComplete="username" required />
          <PasswordInput
            {...form.field("password")}
            label={t("password")}
            description={t("passwordHint")}
            autoComplete="new-password"
            required
          />
          <TextInput {...form.field("workspace")} label={t("workspaceName")} description={t("workspaceHint")} />
          <FormProblem problem={form.problem} words={signInWords} />
          <Button type="submit" loading={form.pending}>
            {t("createOwner")}
          </Button>
        </Stack>
      </form>
    </EntryPage>
  );
}
