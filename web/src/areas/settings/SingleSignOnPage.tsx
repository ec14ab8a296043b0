/** The provider with which people sign in to the workspace: what to copy, what to fill in, and a check. */
import { Alert, Button, Checkbox, Group, NativeSelect, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { IconAlertTriangle, IconCheck } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useMay } from "@/api/me";
import {
  checkSingleSignOn,
  deleteSingleSignOn,
  type SignOnSettings,
  type SingleSignOn,
  setSingleSignOn,
  singleSignOnQuery,
} from "@/api/singleSignOn";
import { CodeBlock } from "@/parts/CodeBlock";
import { Section } from "@/parts/Details";
import { confirm } from "@/parts/dialogs";
import { Edited, useEdit } from "@/parts/Edited";
import { FormProblem } from "@/parts/FormProblem";
import { States } from "@/parts/States";
import { toast, toastError } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { useCommandKey } from "@/parts/useKeys";
import classes from "./RuleFields.module.css";
import { SettingsFrame } from "./SettingsFrame";
import { readDomains, readSignOn, type SignOnFields, writeSignOn } from "./signOnFields";
import { t } from "./signOnTexts";

const ROLES = ["", "viewer", "marketer", "developer"] as const;

export function SingleSignOnPage() {
  const query = useQuery(singleSignOnQuery);
  return (
    <SettingsFrame>
      <States query={query}>
        {({ found, redirectUri }) =>
          found === null ? (
            <SignOnForm start={{ found, redirectUri }} />
          ) : (
            <Edited data={found} theirs={({ updated_at: _, ...settings }) => settings}>
              {(one) => <SignOnForm start={{ found: one, redirectUri }} />}
            </Edited>
          )
        }
      </States>
    </SettingsFrame>
  );
}

type Form = ReturnType<typeof useForm<SignOnFields, SingleSignOn>>;

function SignOnForm({ start }: { start: SignOnSettings }) {
  const may = useMay()("users.write");
  const queries = useQueryClient();
  const { version, saved } = useEdit();
  const [initial] = useState(() => readSignOn(start));
  const isNew = start.found === null;
  const form = useForm<SignOnFields, SingleSignOn>({
    initial,
    send: (values) => setSingleSignOn(writeSignOn(values), version),
    checks: {
      domains: (text) => (readDomains(text).length > 0 ? undefined : t("domainsNeeded")),
      client_secret: (secret, { issuer }) => (secret || issuer === start.found?.issuer ? undefined : t("secretNeeded")),
    },
    done: (now) => {
      toast(t("saved"));
      saved(now.updated_at);
      queries.setQueryData(singleSignOnQuery.queryKey, { found: now, redirectUri: now.redirect_uri });
      void queries.invalidateQueries({ queryKey: ["setup"] });
    },
  });
  useGuard(form.changed && !form.pending);
  useCommandKey("s", form.submit, may);
  return (
    <form {...form.form} aria-label={t("form")}>
      <fieldset disabled={!may} className={classes.plain}>
        <Stack>
          <Section title={t("register")} lead={t("registerLead")}>
            <CodeBlock text={start.redirectUri} label={t("redirectUri")} wrap />
          </Section>
          <Provider form={form} isNew={isNew} may={may} />
          <People form={form} />
          <FormProblem problem={form.problem} />
          {may && (
            <Group>
              <Button type="submit" loading={form.pending} disabled={!form.changed}>
                {t(isNew ? "turnOn" : "save")}
              </Button>
              {!isNew && <TurnOff />}
            </Group>
          )}
        </Stack>
      </fieldset>
    </form>
  );
}

function Provider({ form, isNew, may }: { form: Form; isNew: boolean; may: boolean }) {
  const issuer = form.values.issuer.trim();
  const check = useMutation({ mutationFn: checkSingleSignOn });
  return (
    <Section title={t("provider")} lead={t("providerLead")}>
      <Stack maw={560}>
        <TextInput
          {...form.field("issuer")}
          label={t("issuer")}
          description={t("issuerHint")}
          type="url"
          placeholder={t("issuerExample")}
          spellCheck={false}
          required
        />
        {may && (
          <div>
            <Button
              variant="default"
              onClick={() => check.mutate(issuer)}
              loading={check.isPending}
              disabled={issuer === ""}
            >
              {t("check")}
            </Button>
          </div>
        )}
        <FormProblem problem={check.error} />
        {check.data && check.variables === issuer && (
          <Alert
            role="status"
            color={check.data.ok ? "green" : "red"}
            icon={check.data.ok ? <IconCheck aria-hidden /> : <IconAlertTriangle aria-hidden />}
            style={{ overflowWrap: "anywhere" }}
          >
            {check.data.ok ? t("checkRight", { url: check.data.authorization_endpoint ?? "" }) : check.data.problem}
          </Alert>
        )}
        <TextInput {...form.field("client_id")} label={t("clientId")} autoComplete="off" spellCheck={false} required />
        <PasswordInput
          {...form.field("client_secret")}
          label={t("clientSecret")}
          description={t(isNew ? "clientSecretHint" : "clientSecretStays")}
          autoComplete="off"
        />
        <TextInput
          {...form.field("label")}
          label={t("label")}
          description={t("labelHint")}
          placeholder={t("labelExample")}
          maxLength={80}
        />
      </Stack>
    </Section>
  );
}

function People({ form }: { form: Form }) {
  const owner = useMay()("workspace.delete");
  const box = (name: "owners" | "trusts_mfa") => {
    const { value, error, onChange } = form.field(name);
    return (
      <Checkbox
        name={name}
        label={t(name)}
        description={t(`${name}Hint`)}
        checked={value}
        error={error}
        onChange={onChange}
        // Who may not switch it on may still switch it off.
        disabled={!owner && !value}
      />
    );
  };
  return (
    <Section title={t("people")} lead={t("peopleLead")}>
      <Stack maw={560}>
        <TextInput
          {...form.field("domains")}
          label={t("domains")}
          description={t("domainsHint")}
          placeholder={t("domainExample")}
          spellCheck={false}
          required
        />
        <NativeSelect
          {...form.field("role")}
          label={t("role")}
          description={t("roleHint")}
          data={ROLES.map((value) => ({ value, label: t(`role_${value || "none"}`) }))}
        />
        {box("trusts_mfa")}
        {box("owners")}
        {!owner && (
          <Text size="sm" c="dimmed">
            {t("ownersOnly")}
          </Text>
        )}
      </Stack>
    </Section>
  );
}

function TurnOff() {
  const queries = useQueryClient();
  const removal = useMutation({
    mutationFn: async () => {
      const agreed = await confirm({
        title: t("turnOffQuestion"),
        body: t("turnOffBody"),
        action: t("turnOff"),
        danger: true,
      });
      if (agreed) await deleteSingleSignOn();
      return agreed;
    },
    onSuccess: (agreed) => {
      if (!agreed) return;
      toast(t("turnedOff"));
      void queries.invalidateQueries(singleSignOnQuery);
      void queries.invalidateQueries({ queryKey: ["setup"] });
    },
    onError: toastError,
  });
  return (
    <Button variant="default" c="red" onClick={() => removal.mutate()} loading={removal.isPending}>
      {t("turnOff")}
    </Button>
  );
}
