/** The person's own account: name, password, passkeys, second factor, sessions. */
import { Button, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { changePassword, rename } from "@/api/account";
import { type Me, meQuery, useMe } from "@/api/me";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { toast } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { Passkeys } from "./Passkeys";
import { SecondFactor } from "./SecondFactor";
import { Sessions } from "./Sessions";
import { SettingsFrame } from "./SettingsFrame";
import { t } from "./texts";

export function AccountPage() {
  const me = useMe();
  const user = me?.user;
  return (
    <SettingsFrame>
      {me?.session?.single_sign_on && (
        <Section title={t("signOnBound")} lead={t("signOnBoundBody")}>
          <TextInput label={t("email")} value={user?.email ?? ""} readOnly variant="filled" maw={420} />
        </Section>
      )}
      {user && !me.session?.single_sign_on && (
        <>
          <Profile user={user} />
          <Password />
          <Passkeys />
          <SecondFactor user={user} />
          <Sessions />
        </>
      )}
    </SettingsFrame>
  );
}

function Profile({ user }: { user: NonNullable<Me["user"]> }) {
  const queries = useQueryClient();
  const form = useForm({
    initial: { name: user.name },
    send: rename,
    done: () => {
      toast(t("saved"));
      void queries.invalidateQueries(meQuery);
    },
  });
  useGuard(form.changed);
  return (
    <Section title={t("profile")}>
      <form {...form.form}>
        <Stack maw={420}>
          <TextInput label={t("email")} value={user.email} readOnly variant="filled" />
          <TextInput {...form.field("name")} label={t("name")} autoComplete="name" />
          <FormProblem problem={form.problem} />
          <div>
            <Button type="submit" loading={form.pending} disabled={!form.changed}>
              {t("save")}
            </Button>
          </div>
        </Stack>
      </form>
    </Section>
  );
}

function Password() {
  const queries = useQueryClient();
  const form = useForm({
    initial: { password: "", new_password: "" },
    send: changePassword,
    done: () => {
      toast(t("passwordChanged"));
      form.reset();
      void queries.invalidateQueries({ queryKey: ["sessions"] });
    },
  });
  return (
    <Section title={t("password")} lead={t("passwordLead")}>
      <form {...form.form}>
        <Stack maw={420}>
          <PasswordInput
            {...form.field("password")}
            label={t("currentPassword")}
            autoComplete="current-password"
            required
            withAsterisk={false}
          />
          <PasswordInput
            {...form.field("new_password")}
            label={t("newPassword")}
            description={t("passwordHint")}
            autoComplete="new-password"
            required
            withAsterisk={false}
          />
          <FormProblem problem={form.problem} />
          <div>
            <Button type="submit" variant="default" loading={form.pending}>
              {t("changePassword")}
            </Button>
          </div>
        </Stack>
      </form>
    </Section>
  );
}
