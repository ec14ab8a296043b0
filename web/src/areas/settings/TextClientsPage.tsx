/** The clients of the text-message API. */
import { Anchor, Button, Group, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useMay } from "@/api/me";
import { deleteTextClient, rotateTextClient, type TextClient, textClientsQuery } from "@/api/textClients";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Count } from "@/parts/Count";
import { Section } from "@/parts/Details";
import { confirm } from "@/parts/dialogs";
import { type Column, Listing } from "@/parts/Listing";
import { SecretOnce } from "@/parts/SecretOnce";
import { toast, toastError } from "@/parts/toasts";
import { useFilters } from "@/parts/useFilters";
import { headersOf, NewTextClient } from "./NewTextClient";
import { SettingsFrame } from "./SettingsFrame";
import { t } from "./texts";

export function TextClientsPage() {
  const { after } = useFilters();
  const query = useQuery(textClientsQuery(after));
  const may = useMay()("settings.write");
  const [making, setMaking] = useState(false);
  const columns: Column<TextClient>[] = [
    {
      id: "name",
      title: t("name"),
      cell: ({ name, client_id }) => (
        <>
          <Text size="sm" fw={500}>
            {name}
          </Text>
          <Text size="xs" c="dimmed" ff="monospace" style={{ overflowWrap: "anywhere" }}>
            {client_id}
          </Text>
        </>
      ),
    },
    {
      id: "callback",
      title: t("callback"),
      cell: ({ callback, endpoint_id }) =>
        endpoint_id ? (
          <Anchor component={Link} to={`/webhooks/${endpoint_id}` as never} size="sm">
            {t(`callback_${callback?.kind ?? "none"}`)}
          </Anchor>
        ) : (
          t(`callback_${callback?.kind ?? "none"}`)
        ),
      wide: true,
    },
    {
      id: "rate",
      title: t("textRate"),
      cell: ({ rate_limit }) => <Count of={rate_limit} />,
      numeric: true,
      wide: true,
    },
    {
      id: "secrets",
      title: t("secretsCount"),
      cell: ({ secrets }) => <Count of={secrets} />,
      numeric: true,
      wide: true,
    },
    ...(may ? [{ id: "actions", title: "", cell: (one: TextClient) => <Actions one={one} /> }] : []),
  ];
  return (
    <SettingsFrame>
      <Section
        title={t("texts")}
        lead={t("textsLead")}
        actions={
          <>
            <CopyAsCurl path="/v1/text-clients" query={{ after }} />
            {may && !making && <Button onClick={() => setMaking(true)}>{t("newText")}</Button>}
          </>
        }
      >
        {making && <NewTextClient close={() => setMaking(false)} />}
        <Listing
          label={t("texts")}
          query={query}
          columns={columns}
          rowKey={({ id }) => id}
          empty={{ title: t("noTexts"), hint: t("noTextsHint") }}
        />
      </Section>
    </SettingsFrame>
  );
}

function Actions({ one: { id, name } }: { one: TextClient }) {
  const queries = useQueryClient();
  const refresh = () => void queries.invalidateQueries({ queryKey: ["text-clients"] });
  const rotate = useMutation({ mutationFn: () => rotateTextClient(id), onSuccess: refresh, onError: toastError });
  const remove = useMutation({
    mutationFn: () => deleteTextClient(id),
    onSuccess: () => {
      toast(t("textDeleted", { name }));
      refresh();
    },
    onError: toastError,
  });

  async function ask() {
    const question = { title: t("deleteTextQuestion", { name }), body: t("deleteTextBody"), action: t("delete") };
    if (await confirm({ ...question, danger: true })) remove.mutate();
  }

  if (rotate.data) {
    const { client_id, client_secret } = rotate.data;
    return (
      <SecretOnce label={t("textRotated", { name })} text={headersOf(client_id, client_secret)}>
        <div>
          <Button size="xs" onClick={() => rotate.reset()}>
            {t("done")}
          </Button>
        </div>
      </SecretOnce>
    );
  }
  return (
    <Group gap="xs" justify="flex-end">
      <Button
        size="xs"
        variant="default"
        aria-label={t("rotateSecretOf", { name })}
        onClick={() => rotate.mutate()}
        loading={rotate.isPending}
      >
        {t("rotateSecret")}
      </Button>
      <Button
        size="xs"
        variant="default"
        aria-label={t("deleteTextOf", { name })}
        onClick={() => void ask()}
        loading={remove.isPending}
      >
        {t("delete")}
      </Button>
    </Group>
  );
}
