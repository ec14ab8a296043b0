/** Email and password, then the code of the second factor where one is needed; or a passkey alone. */
import { Button, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { type Credentials, type Me, signIn } from "@/api/me";
import { signInWithPasskey } from "@/api/passkeys";
import { Problem } from "@/api/problem";
import { announce } from "./announce";
import { FormProblem } from "./FormProblem";
import { PasskeyButton } from "./PasskeyButton";
import { signInWords, entryText as t } from "./signInWords";
import { useForm } from "./useForm";

interface Props {
  done: (me: Me) => void;
  /** The address cannot be changed when the same person signs in again. */
  email?: string;
  /** Below the button of the first step. */
  children?: ReactNode;
}

export function SignInForm({ done, email = "", children }: Props) {
  const [known, setKnown] = useState<Credentials>();
  const credentials = useForm({
    initial: { email, password: "" },
    send: async (values) => {
      try {
        return await signIn(values);
      } catch (error) {
        if (!(error instanceof Problem && error.code === "mfa_required")) throw error;
        setKnown(values);
        announce(t("codeTitle"));
        return null;
      }
    },
    done: (me) => me && done(me),
  });
  if (known) return <CodeForm known={known} done={done} back={() => setKnown(undefined)} />;
  return (
    <form {...credentials.form}>
      <Stack>
        <TextInput
          {...credentials.field("email")}
          label={t("email")}
          type="email"
          autoComplete="username"
          readOnly={email !== ""}
          required
          withAsterisk={false}
          data-autofocus={email === "" || undefined}
        />
        <PasswordInput
          {...credentials.field("password")}
          label={t("password")}
          autoComplete="current-password"
          required
          withAsterisk={false}
          data-autofocus={email !== "" || undefined}
        />
        <FormProblem problem={credentials.problem} words={signInWords} />
        <Button type="submit" loading={credentials.pending}>
          {t("signIn")}
        </Button>
        <PasskeyButton words={t("signInPasskey")} use={signInWithPasskey} done={done} />
        {children}
      </Stack>
    </form>
  );
}

function CodeForm({ known, done, back }: { known: Credentials; done: Props["done"]; back: () => void }) {
  const form = useForm({
    initial: { totp: "" },
    // People copy codes with the space that the app shows in their middle.
    send: ({ totp }) => signIn({ ...known, totp: totp.replaceAll(" ", "") }),
    done,
  });
  return (
    <form {...form.form}>
      <Stack>
        <Text size="sm" c="dimmed" id="code-hint">
          {t("codeHint")}
        </Text>
        <TextInput
          {...form.field("totp")}
          label={t("code")}
          aria-describedby="code-hint"
          autoComplete="one-time-code"
          inputMode="text"
          autoCapitalize="none"
          spellCheck={false}
          autoFocus
          required
          withAsterisk={false}
        />
        <FormProblem problem={form.problem} words={(problem) => signInWords(problem, true)} />
        <Button type="submit" loading={form.pending}>
          {t("continue")}
        </Button>
        <Button variant="subtle" color="gray" onClick={back}>
          {t("back")}
        </Button>
      </Stack>
    </form>
  );
}
