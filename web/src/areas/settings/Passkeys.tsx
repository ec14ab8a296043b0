/** The person's passkeys: added, renamed, deleted; or why this page cannot use them. */
import { Button, Group, Stack, Table, Text, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { meQuery, setupQuery } from "@/api/me";
import { addPasskey, deletePasskey, findObstacle, type Passkey, passkeysQuery, renamePasskey } from "@/api/passkeys";
import { Section } from "@/parts/Details";
import { confirm } from "@/parts/dialogs";
import { FormProblem } from "@/parts/FormProblem";
import { asProblem, PasskeyObstacle } from "@/parts/PasskeyButton";
import { States } from "@/parts/States";
import { Time } from "@/parts/Time";
import { toast, toastError } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { nameBrowser } from "./browserName";
import { t } from "./texts";

export function Passkeys() {
  const query = useQuery(passkeysQuery);
  const setup = useQuery(setupQuery).data;
  const [adding, setAdding] = useState(false);
  const obstacle = setup && findObstacle(setup.passkey_origin);
  const ready = setup && !obstacle && !adding;
  return (
    <Section
      title={t("passkeys")}
      lead={t("passkeysLead")}
      actions={ready && <Button onClick={() => setAdding(true)}>{t("addPasskey")}</Button>}
    >
      {obstacle && <PasskeyObstacle obstacle={obstacle} origin={setup.passkey_origin} />}
      {adding && <AddPasskey close={() => setAdding(false)} />}
      <States query={query}>
        {({ data }) => (data.length > 0 ? <PasskeyTable passkeys={data} /> : <Text size="sm">{t("noPasskeys")}</Text>)}
      </States>
    </Section>
  );
}

/** What else shows the passkeys: who the person is says how many there are. */
function useRefresh() {
  const queries = useQueryClient();
  return () => {
    void queries.invalidateQueries(passkeysQuery);
    void queries.invalidateQueries(meQuery);
  };
}

function AddPasskey({ close }: { close: () => void }) {
  const queries = useQueryClient();
  const form = useForm({
    initial: { name: nameBrowser(navigator.userAgent) ?? t("thisDevice") },
    send: addPasskey,
    done: ({ name }) => {
      toast(t("passkeyAdded", { name }));
      close();
      // The workspace may have refused everything until now.
      void queries.invalidateQueries();
    },
  });
  return (
    <form {...form.form}>
      <Stack maw={420}>
        <TextInput
          {...form.field("name")}
          label={t("passkeyName")}
          description={t("passkeyNameHint")}
          autoComplete="off"
          required
          withAsterisk={false}
        />
        <FormProblem problem={form.problem && asProblem(form.problem)} />
        <Group>
          <Button type="submit" loading={form.pending}>
            {t("makePasskey")}
          </Button>
          <Button variant="default" onClick={close}>
            {t("cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function PasskeyTable({ passkeys }: { passkeys: Passkey[] }) {
  const [renamed, setRenamed] = useState<string>();
  return (
    <Table.ScrollContainer minWidth={0} type="native" role="group" aria-label={t("passkeys")} tabIndex={0}>
      <Table aria-label={t("passkeys")}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">{t("name")}</Table.Th>
            <Table.Th scope="col">{t("made")}</Table.Th>
            <Table.Th scope="col">{t("lastUsed")}</Table.Th>
            <Table.Td />
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {passkeys.map((passkey) => (
            <Table.Tr key={passkey.id}>
              <Table.Td style={{ overflowWrap: "anywhere" }}>
                {renamed === passkey.id ? (
                  <RenameForm passkey={passkey} close={() => setRenamed(undefined)} />
                ) : (
                  passkey.name
                )}
              </Table.Td>
              <Table.Td>
                <Time at={passkey.created_at} />
              </Table.Td>
              <Table.Td>
                <Time at={passkey.last_used_at} otherwise={t("neverUsed")} />
              </Table.Td>
              <Table.Td ta="end">
                <Group gap="xs" justify="end">
                  <Button
                    size="xs"
                    variant="default"
                    aria-label={t("renameOf", { name: passkey.name })}
                    onClick={() => setRenamed(passkey.id)}
                  >
                    {t("rename")}
                  </Button>
                  <DeletePasskey passkey={passkey} />
                </Group>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

function RenameForm({ passkey, close }: { passkey: Passkey; close: () => void }) {
  const refresh = useRefresh();
  const form = useForm({
    initial: { name: passkey.name },
    send: (body) => renamePasskey(passkey.id, body),
    done: () => {
      toast(t("saved"));
      close();
      refresh();
    },
  });
  return (
    <form {...form.form}>
      <Stack gap="xs">
        <TextInput {...form.field("name")} aria-label={t("newName")} size="xs" autoComplete="off" autoFocus required />
        <FormProblem problem={form.problem} />
        <Group gap="xs">
          <Button type="submit" size="xs" loading={form.pending}>
            {t("save")}
          </Button>
          <Button size="xs" variant="default" onClick={close}>
            {t("cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function DeletePasskey({ passkey: { id, name } }: { passkey: Passkey }) {
  const refresh = useRefresh();
  const removal = useMutation({
    mutationFn: () => deletePasskey(id),
    onSuccess: () => {
      toast(t("passkeyDeleted", { name }));
      refresh();
    },
    onError: toastError,
  });

  async function remove() {
    const body = t("deletePasskeyBody");
    const question = { title: t("deletePasskeyQuestion", { name }), body, action: t("deletePasskey"), danger: true };
    if (await confirm(question)) removal.mutate();
  }

  return (
    <Button
      size="xs"
      variant="default"
      c="red"
      aria-label={t("deletePasskeyOf", { name })}
      loading={removal.isPending}
      onClick={() => void remove()}
    >
      {t("deletePasskey")}
    </Button>
  );
}
