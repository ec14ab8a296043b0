/** The API keys of the workspace. */
import { Button, Group, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { type ApiKey, deleteKey, keysQuery } from "@/api/keys";
import { useMay } from "@/api/me";
import { CopyAsCurl, curl } from "@/parts/CopyAsCurl";
import { Section } from "@/parts/Details";
import { confirm } from "@/parts/dialogs";
import { type Column, Listing } from "@/parts/Listing";
import { Time } from "@/parts/Time";
import { toast, toastError } from "@/parts/toasts";
import { useFilters } from "@/parts/useFilters";
import { NewKey } from "./NewKey";
import { RotateKey } from "./RotateKey";
import { SettingsFrame } from "./SettingsFrame";
import { t } from "./texts";

export function KeysPage() {
  const { after } = useFilters();
  const query = useQuery(keysQuery(after));
  const may = useMay()("keys.write");
  const [making, setMaking] = useState(false);
  const [rotating, setRotating] = useState<ApiKey>();
  const make = may && !making && <Button onClick={() => setMaking(true)}>{t("newKey")}</Button>;
  const columns: Column<ApiKey>[] = [
    {
      id: "name",
      title: t("name"),
      cell: ({ name, hint }) => (
        <>
          <Text size="sm" fw={500}>
            {name}
          </Text>
          <Text size="xs" c="dimmed" ff="monospace">
            {hint}
          </Text>
        </>
      ),
    },
    {
      id: "scopes",
      title: t("scopes"),
      cell: ({ scopes }) => scopes.join(", "),
    },
    { id: "created", title: t("created"), cell: (key) => <Time at={key.created_at} />, wide: true },
    {
      id: "used",
      title: t("lastUsed"),
      cell: (key) => (
        <>
          <Time at={key.last_used_at} otherwise={t("notUsed")} />
          {key.last_used_ip && (
            <Text size="xs" c="dimmed">
              {t("from", { ip: key.last_used_ip })}
            </Text>
          )}
        </>
      ),
      wide: true,
    },
    { id: "expires", title: t("ends"), cell: (key) => <Time at={key.expires_at} />, wide: true },
    ...(may
      ? [{ id: "actions", title: "", cell: (key: ApiKey) => <Actions apiKey={key} rotate={() => setRotating(key)} /> }]
      : []),
  ];
  return (
    <SettingsFrame>
      <Section
        title={t("keys")}
        lead={t("keysLead")}
        actions={
          <>
            <CopyAsCurl path="/v1/keys" />
            {make}
          </>
        }
      >
        {making && <NewKey close={() => setMaking(false)} />}
        {rotating && <RotateKey key={rotating.id} apiKey={rotating} close={() => setRotating(undefined)} />}
        <Listing
          label={t("keys")}
          query={query}
          columns={columns}
          rowKey={({ id }) => id}
          empty={{
            title: t("noKeys"),
            hint: t("noKeysHint"),
            children: make || undefined,
            example: curl({ path: "/v1/events" }),
          }}
        />
      </Section>
    </SettingsFrame>
  );
}

function Actions({ apiKey: { id, name }, rotate }: { apiKey: ApiKey; rotate: () => void }) {
  const queries = useQueryClient();
  const remove = useMutation({
    mutationFn: () => deleteKey(id),
    onSuccess: () => {
      toast(t("keyDeleted", { name }));
      void queries.invalidateQueries({ queryKey: ["keys"] });
    },
    onError: toastError,
  });

  async function ask() {
    const question = { title: t("deleteKeyQuestion", { name }), body: t("deleteKeyBody"), action: t("delete") };
    if (await confirm({ ...question, danger: true })) remove.mutate();
  }

  return (
    <Group gap="xs" justify="flex-end">
      <Button size="xs" variant="default" aria-label={t("rotateOf", { name })} onClick={rotate}>
        {t("rotate")}
      </Button>
      <Button
        size="xs"
        variant="default"
        aria-label={t("deleteOf", { name })}
        onClick={() => void ask()}
        loading={remove.isPending}
      >
        {t("delete")}
      </Button>
    </Group>
  );
}
