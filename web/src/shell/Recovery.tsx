/** Asks for a new session or a fresh proof when a request needs one; the page behind stays as it is. */
import { Button, Modal, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { confirmSession, type Me, meQuery, useMe } from "@/api/me";
import { confirmWithPasskey } from "@/api/passkeys";
import { type Need, onNeed } from "@/api/recovery";
import { signOnAddress } from "@/api/singleSignOn";
import { FormProblem } from "@/parts/FormProblem";
import { PasskeyButton } from "@/parts/PasskeyButton";
import { SignInForm } from "@/parts/SignInForm";
import { useForm } from "@/parts/useForm";
import { t } from "./texts";

interface Open {
  need: Need;
  answer: (done: boolean) => void;
}

export function Recovery() {
  const [open, setOpen] = useState<Open>();
  const queries = useQueryClient();
  const me = useMe();
  const bySignOn = me?.session?.single_sign_on;
  useEffect(
    () =>
      onNeed(
        (need) =>
          new Promise((resolve) => {
            setOpen({
              need,
              answer: (done) => {
                setOpen(undefined);
                resolve(done);
              },
            });
          }),
      ),
    [],
  );
  const title = open?.need === "session" ? t("sessionOver") : t("confirmTitle");
  return (
    <Modal
      opened={open !== undefined}
      onClose={() => open?.answer(false)}
      title={title}
      closeButtonProps={{ "aria-label": t("close") }}
      centered
    >
      <Stack>
        <Text size="sm">{t(HINTS[open?.need ?? "confirmation"])}</Text>
        {open && bySignOn && open.need !== "factor" && me?.workspace && (
          <SignOnAgain
            workspace={me.workspace.id}
            done={() => {
              open.answer(true);
              void queries.invalidateQueries(meQuery);
            }}
          />
        )}
        {open?.need === "session"
          ? !bySignOn && (
              <SignInForm
                email={me?.user?.email}
                done={(next) => {
                  queries.setQueryData(meQuery.queryKey, next);
                  open.answer(true);
                }}
              />
            )
          : open && (
              <Confirm
                me={me}
                need={open.need}
                done={(next) => {
                  queries.setQueryData(meQuery.queryKey, next);
                  open.answer(true);
                }}
              />
            )}
      </Stack>
    </Modal>
  );
}

const HINTS = {
  session: "sessionOverHint",
  confirmation: "confirmHint",
  passkey: "passkeyHint",
  factor: "factorHint",
} as const;

/** The provider's page opens in another tab, so that nothing that was typed in this one is lost. */
function SignOnAgain({ workspace, done }: { workspace: string; done: () => void }) {
  return (
    <>
      <Text size="sm">{t("signOnHint")}</Text>
      <Button component="a" href={signOnAddress(workspace, "/", { fresh: true })} target="_blank" rel="noopener">
        {t("signOnAgain")}
      </Button>
      <Button variant="default" onClick={done}>
        {t("signOnDone")}
      </Button>
    </>
  );
}

/** What the person has to prove it with: a passkey, and what the server takes besides. */
function Confirm({ me, need, done }: { me: Me | undefined; need: Need; done: (me: Me) => void }) {
  const { totp = false, passkeys = 0 } = me?.user ?? {};
  const bySignOn = me?.session?.single_sign_on ?? false;
  // A session that was made with a passkey, or without a password, is not confirmed by the password.
  const passkeyAlone = !totp && passkeys > 0 && (need === "passkey" || bySignOn || me?.session?.mfa);
  if (bySignOn && !totp && passkeys === 0) return null;
  return (
    <>
      {!passkeyAlone && <ConfirmForm totp={totp} done={done} />}
      {passkeys > 0 && (
        <PasskeyButton words={t("confirmPasskey")} use={confirmWithPasskey} done={done} explained={passkeyAlone} />
      )}
    </>
  );
}

/** A second factor proves more than a password, so people who have one are asked for that. */
function ConfirmForm({ totp, done }: { totp: boolean; done: (me: Me) => void }) {
  const form = useForm({
    initial: { proof: "" },
    send: ({ proof }) => confirmSession(totp ? { totp: proof.replaceAll(" ", "") } : { password: proof }),
    done,
    names: { password: "proof", totp: "proof" },
  });
  return (
    <form {...form.form}>
      <Stack>
        {totp ? (
          <TextInput
            {...form.field("proof")}
            label={t("codeOrPassword")}
            autoComplete="one-time-code"
            autoCapitalize="none"
            spellCheck={false}
            data-autofocus
          />
        ) : (
          <PasswordInput
            {...form.field("proof")}
            label={t("password")}
            autoComplete="current-password"
            data-autofocus
          />
        )}
        <FormProblem
          problem={form.problem}
          words={({ status }) => (status === 401 || status === 403 ? t("notConfirmed") : undefined)}
        />
        <Button type="submit" loading={form.pending}>
          {t("confirm")}
        </Button>
      </Stack>
    </form>
  );
}
