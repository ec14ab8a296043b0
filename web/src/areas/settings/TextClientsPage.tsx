/** The clients of the text-message API. */
import { Anchor, Button, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useMay } from "@/api/me";
import { type TextClient, textClientsQuery } from "@/api/textClients";
import { CopyAsCurl, curl } from "@/parts/CopyAsCurl";
import { Count } from "@/parts/Count";
import { Section } from "@/parts/Details";
import { type Column, Listing } from "@/parts/Listing";
import { useFilters } from "@/parts/useFilters";
import { NewTextClient } from "./NewTextClient";
import { SettingsFrame } from "./SettingsFrame";
import { t } from "./textClientTexts";

export function TextClientsPage() {
  const { after } = useFilters();
  const query = useQuery(textClientsQuery(after));
  const may = useMay()("settings.write");
  const [making, setMaking] = useState(false);
  const make = may && !making && <Button onClick={() => setMaking(true)}>{t("newText")}</Button>;
  const columns: Column<TextClient>[] = [
    {
      id: "name",
      title: t("name"),
      cell: ({ id, name, client_id }) => (
        <>
          <Anchor component={Link} to="/settings/texts/$id" params={{ id } as never} size="sm" fw={500}>
            {name}
          </Anchor>
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
  ];
  return (
    <SettingsFrame>
      <Section
        title={t("texts")}
        lead={t("textsLead")}
        actions={
          <>
            <CopyAsCurl path="/v1/text-clients" query={{ after }} />
            {make}
          </>
        }
      >
        {making && <NewTextClient close={() => setMaking(false)} />}
        <Listing
          label={t("texts")}
          query={query}
          columns={columns}
          rowKey={({ id }) => id}
          empty={{
            title: t("noTexts"),
            hint: t("noTextsHint"),
            children: make || undefined,
            example: curl({ method: "POST", path: "/v1/text-clients", body: { name: "Birthday flow" } }),
          }}
        />
      </Section>
    </SettingsFrame>
  );
}
