/** The second factor: turned on with its first code, which shows the recovery codes; turned off; new codes. */
import { Alert, Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { confirmTotp, offerTotp, removeTotp, renewRecoveryCodes } from "@/api/account";
import { type Me, meQuery, useMe } from "@/api/me";
import { CopyButton } from "@/parts/CopyButton";
import { Section } from "@/parts/Details";
import { confirm } from "@/parts/dialogs";
import { FormProblem } from "@/parts/FormProblem";
import { toast, toastError } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { RecoveryCodes } from "./RecoveryCodes";
import classes from "./SecondFactor.module.css";
import { t } from "./texts";

export function SecondFactor({ user }: { user: NonNullable<Me["user"]> }) {
  const queries = useQueryClient();
  const rule = useMe()?.workspace?.mfa;
  const [codes, setCodes] = useState<string[]>();
  const refresh = () => queries.invalidateQueries(meQuery);
  const offer = useMutation({ mutationFn: offerTotp, onError: toastError });
  const renew = useMutation({
    mutationFn: renewRecoveryCodes,
    onSuccess: ({ recovery_codes }) => {
      setCodes(recovery_codes);
      void refresh();
    },
    onError: toastError,
  });
  const remove = useMutation({
    mutationFn: removeTotp,
    onSuccess: () => {
      setCodes(undefined);
      void refresh();
    },
    onError: toastError,
  });

  async function turnOff() {
    const question = { title: t("turnOffQuestion"), body: t("turnOffBody"), action: t("turnOff"), danger: true };
    if (await confirm(question)) remove.mutate();
  }

  async function makeNew() {
    if (await confirm({ title: t("renewQuestion"), body: t("renewBody"), action: t("renewCodes") })) renew.mutate();
  }

  if (codes) {
    return (
      <Section title={t("recovery")} lead={t("recoveryLead")}>
        <RecoveryCodes codes={codes} done={() => setCodes(undefined)} />
      </Section>
    );
  }
  if (user.totp) {
    return (
      <Section title={t("mfa")} lead={t("mfaOn")}>
        <Text size="sm">{t("recoveryLeft", { n: user.recovery_codes })}</Text>
        <Group>
          <Button variant="default" onClick={() => void makeNew()} loading={renew.isPending}>
            {t("renewCodes")}
          </Button>
          <Button variant="default" color="red" onClick={() => void turnOff()} loading={remove.isPending}>
            {t("turnOff")}
          </Button>
        </Group>
      </Section>
    );
  }
  return (
    <Section title={t("mfa")} lead={t("mfaOff")}>
      {rule === "required" && user.passkeys === 0 && <Alert color="orange">{t("mfaNeeded")}</Alert>}
      {offer.data ? (
        <Enrol
          offer={offer.data}
          cancel={() => offer.reset()}
          done={(found) => {
            offer.reset();
            toast(t("mfaIsOn"));
            setCodes(found);
            // The workspace may have refused everything until now.
            void queries.invalidateQueries();
          }}
        />
      ) : (
        <div>
          <Button onClick={() => offer.mutate()} loading={offer.isPending}>
            {t("setUp")}
          </Button>
        </div>
      )}
    </Section>
  );
}

interface EnrolProps {
  offer: { secret: string; uri: string; qr: string };
  cancel: () => void;
  done: (codes: string[]) => void;
}

function Enrol({ offer: { secret, qr }, cancel, done }: EnrolProps) {
  const form = useForm({
    initial: { code: "" },
    send: ({ code }) => confirmTotp(code.replaceAll(" ", "")),
    done: ({ recovery_codes }) => done(recovery_codes),
  });
  const grouped = secret.match(/.{1,4}/g)?.join(" ") ?? secret;
  return (
    <Stack>
      <Text size="sm" fw={500}>
        {t("scan")}
      </Text>
      <img
        className={classes.qr}
        src={`data:image/svg+xml;charset=utf-8,${encodeURIComponent(withNamespace(qr))}`}
        alt={t("qr")}
      />
      <Text size="sm">{t("orType")}</Text>
      <Group gap="xs">
        <code className={classes.secret}>{grouped}</code>
        <CopyButton text={secret} what={t("secret")} />
      </Group>
      <form {...form.form}>
        <Stack maw={300}>
          <TextInput
            {...form.field("code")}
            label={t("firstCode")}
            autoComplete="one-time-code"
            inputMode="numeric"
            required
            withAsterisk={false}
          />
          <FormProblem problem={form.problem} />
          <Group>
            <Button type="submit" loading={form.pending}>
              {t("turnOn")}
            </Button>
            <Button variant="default" onClick={cancel}>
              {t("cancel")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Stack>
  );
}

/** A drawing that stands in a page needs no namespace; one that is an image does. */
const withNamespace = (svg: string) =>
  svg.includes("xmlns=") ? svg : svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"');
