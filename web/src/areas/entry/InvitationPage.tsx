/** Joins a workspace by the link of an invitation: as a new person, or as the one who is signed in. */
import { Anchor, Button, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { acceptInvitation, meQuery } from "@/api/me";
import { FormProblem } from "@/parts/FormProblem";
import { Loading } from "@/parts/States";
import { useForm } from "@/parts/useForm";
import { readToken, useArrive } from "./arrive";
import { EntryPage } from "./EntryPage";
import { t } from "./texts";

export function InvitationPage() {
  const [token] = useState(readToken);
  const me = useQuery({ ...meQuery, retry: false });
  if (!token) return <EntryPage title={t("invitationTitle")}>{t("linkIncomplete")}</EntryPage>;
  const email = me.data?.user?.email;
  return (
    <EntryPage title={t("invitationTitle")}>
      {me.isPending ? <Loading /> : email ? <JoinAs token={token} email={email} /> : <JoinAsNew token={token} />}
    </EntryPage>
  );
}

function JoinAs({ token, email }: { token: string; email: string }) {
  const form = useForm({ initial: {}, send: () => acceptInvitation({ token }), done: useArrive() });
  return (
    <form {...form.form}>
      <Stack>
        <Text size="sm">{t("joinAs", { email })}</Text>
        <FormProblem problem={form.problem} />
        <Button type="submit" loading={form.pending}>
          {t("accept")}
        </Button>
      </Stack>
    </form>
  );
}

function JoinAsNew({ token }: { token: string }) {
  const form = useForm({
    initial: { name: "", password: "" },
    send: (values) => acceptInvitation({ token, ...values }),
    done: useArrive(),
  });
  return (
    <form {...form.form}>
      <Stack>
        <TextInput {...form.field("name")} label={t("name")} autoComplete="name" />
        <PasswordInput
          {...form.field("password")}
          label={t("password")}
          description={t("passwordHint")}
          autoComplete="new-password"
          required
          withAsterisk={false}
        />
        <FormProblem problem={form.problem} />
        <Button type="submit" loading={form.pending}>
          {t("accept")}
        </Button>
        <Anchor
          size="sm"
          ta="center"
          renderRoot={(props) => <Link {...props} to="/sign-in" search={{ to: "/invitation" }} />}
        >
          {t("haveAccount")}
        </Anchor>
      </Stack>
    </form>
  );
}
