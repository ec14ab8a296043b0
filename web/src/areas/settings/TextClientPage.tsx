/** One client of the text-message API: its settings, a new secret, and its end. */
import { Button, Group, Stack, Text } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useState } from "react";
import { useMay } from "@/api/me";
import { changeTextClient, deleteTextClient, type TextClient, textClientQuery } from "@/api/textClients";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { CopyButton } from "@/parts/CopyButton";
import { Count } from "@/parts/Count";
import { DeleteButton } from "@/parts/DeleteButton";
import { Details, Section } from "@/parts/Details";
import { Edited, useEdit } from "@/parts/Edited";
import { FormProblem } from "@/parts/FormProblem";
import { States } from "@/parts/States";
import { toast } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { useCommandKey } from "@/parts/useKeys";
import { RotateTextClient } from "./RotateTextClient";
import classes from "./RuleFields.module.css";
import { SettingsFrame } from "./SettingsFrame";
import { TextClientFields } from "./TextClientFields";
import { CHECKS, NAMES, readTextClient, writeTextClient } from "./textClient";
import { t } from "./textClientTexts";

export function TextClientPage() {
  const { id } = useParams({ from: "/app/settings/texts/$id" });
  const query = useQuery(textClientQuery(id));
  return (
    <SettingsFrame title={query.data?.name ?? id}>
      <States query={query}>
        {(found) => (
          <Edited data={found} theirs={readTextClient}>
            {(one) => (
              <>
                <Identity client={one} />
                <Form client={one} />
              </>
            )}
          </Edited>
        )}
      </States>
    </SettingsFrame>
  );
}

function Identity({ client }: { client: TextClient }) {
  const { id, name, client_id, secrets } = client;
  const may = useMay()("settings.write");
  const [rotating, setRotating] = useState(false);
  return (
    <Section
      title={t("identity")}
      actions={
        <>
          <CopyAsCurl path={`/v1/text-clients/${id}`} />
          {may && !rotating && (
            <Button variant="default" aria-label={t("rotateSecretOf", { name })} onClick={() => setRotating(true)}>
              {t("rotateSecret")}
            </Button>
          )}
          {may && (
            <DeleteButton
              question={{ title: t("deleteTextQuestion", { name }), body: t("deleteTextBody"), action: t("delete") }}
              remove={() => deleteTextClient(id)}
              done={t("textDeleted", { name })}
              to="/settings/texts"
              queryKey={["text-clients", id]}
            />
          )}
        </>
      }
    >
      <Details
        rows={[
          [
            t("clientId"),
            <>
              {client_id} <CopyButton text={client_id} what={t("clientId")} />
            </>,
          ],
          [t("secretsCount"), <Count key="secrets" of={secrets} />],
        ]}
      />
      {rotating ? (
        <RotateTextClient client={client} close={() => setRotating(false)} />
      ) : (
        <Text size="sm" c="dimmed">
          {t("secretHint")}
        </Text>
      )}
    </Section>
  );
}

function Form({ client }: { client: TextClient }) {
  const queries = useQueryClient();
  const { version, saved } = useEdit();
  const may = useMay()("settings.write");
  const [initial] = useState(() => readTextClient(client));
  const form = useForm({
    initial,
    checks: CHECKS,
    names: NAMES,
    send: (values) => changeTextClient(client.id, writeTextClient(values), version),
    done: (changed) => {
      toast(t("saved"));
      saved(changed.updated_at);
      void queries.invalidateQueries({ queryKey: ["text-clients"] });
    },
  });
  useGuard(form.changed && !form.pending);
  useCommandKey("s", form.submit, may);
  return (
    <Section title={t("settings")}>
      <form {...form.form} aria-label={t("settings")}>
        <fieldset disabled={!may} className={classes.plain}>
          <Stack>
            <TextClientFields form={form} />
            <FormProblem problem={form.problem} />
            {may && (
              <Group>
                <Button type="submit" loading={form.pending} disabled={!form.changed}>
                  {t("save")}
                </Button>
              </Group>
            )}
          </Stack>
        </fieldset>
      </form>
    </Section>
  );
}
