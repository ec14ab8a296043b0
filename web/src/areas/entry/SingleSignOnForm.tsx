/** Single sign-on: asks for the address, whose domain says which provider it is, and leads there. */
import { Anchor, Button, Stack, Text, TextInput } from "@mantine/core";
import { departure, findSignOn, type SignOnChoice, signOnAddress } from "@/api/singleSignOn";
import { FormProblem } from "@/parts/FormProblem";
import { signInWords } from "@/parts/signInWords";
import { useForm } from "@/parts/useForm";
import { ownPath } from "./arrive";
import { t } from "./texts";

interface Props {
  to: string | undefined;
  back: () => void;
}

/** Returns the domain of an address; nothing if it has none. */
export function domainOf(email: string): string {
  const at = email.lastIndexOf("@");
  return at < 1
    ? ""
    : email
        .slice(at + 1)
        .trim()
        .toLowerCase();
}

export function SingleSignOnForm({ to, back }: Props) {
  const path = ownPath(to);
  const form = useForm<{ email: string }, SignOnChoice[]>({
    initial: { email: "" },
    checks: { email: (email) => (domainOf(email) ? undefined : t("signOnAddress")) },
    send: async ({ email }) => {
      const found = await findSignOn(domainOf(email));
      if (found.length === 0) throw new Error(t("signOnNone", { domain: domainOf(email) }));
      return found;
    },
    done: ([first, ...others]) => first && others.length === 0 && departure.leave(signOnAddress(first.id, path)),
  });
  const choices = form.result ?? [];
  return (
    <form {...form.form}>
      <Stack>
        <Text size="sm" c="dimmed" id="sign-on-hint">
          {t("signOnHint")}
        </Text>
        <TextInput
          {...form.field("email")}
          label={t("workEmail")}
          type="email"
          autoComplete="email"
          aria-describedby="sign-on-hint"
          autoFocus
          required
          withAsterisk={false}
        />
        <FormProblem problem={form.problem} words={signInWords} />
        <Button type="submit" loading={form.pending || choices.length === 1}>
          {t("continue")}
        </Button>
        {choices.length > 1 && <Choices choices={choices} path={path} />}
        <Button variant="subtle" color="gray" onClick={back}>
          {t("signOnBack")}
        </Button>
      </Stack>
    </form>
  );
}

/** Several workspaces may have the same domain: the person says which one to open. */
function Choices({ choices, path }: { choices: SignOnChoice[]; path: string }) {
  return (
    <Stack gap="xs" role="group" aria-label={t("signOnSeveral")}>
      <Text size="sm">{t("signOnSeveral")}</Text>
      {choices.map(({ id, label, host }) => (
        <Anchor key={id} href={signOnAddress(id, path)} size="sm">
          {t("signOnWith", { label, host })}
        </Anchor>
      ))}
    </Stack>
  );
}
