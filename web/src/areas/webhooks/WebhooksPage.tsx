/** The page /webhooks: all endpoints, what each gets, and how it goes. */
import { Anchor, Button, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMay } from "@/api/me";
import { type Webhook, webhooksQuery } from "@/api/webhooks";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Count } from "@/parts/Count";
import { type Column, Listing } from "@/parts/Listing";
import { Page } from "@/parts/Page";
import { Status } from "@/parts/Status";
import { Time } from "@/parts/Time";
import { useFilters } from "@/parts/useFilters";
import { useLive } from "@/parts/useLive";
import { errorWords } from "./errorWords";
import { Scope } from "./Scope";
import { t } from "./texts";

const COLUMNS: Column<Webhook>[] = [
  {
    id: "endpoint",
    title: t("endpoint"),
    cell: ({ id, url, description }) => (
      <>
        <Anchor
          component={Link}
          to="/webhooks/$id"
          params={{ id } as never}
          size="sm"
          fw={500}
          style={{ overflowWrap: "anywhere" }}
        >
          {url}
        </Anchor>
        {description && (
          <Text size="xs" c="dimmed">
            {description}
          </Text>
        )}
      </>
    ),
  },
  {
    id: "status",
    title: t("status"),
    cell: ({ status }) => (
      <Status
        value={status === "enabled" ? "active" : status}
        label={t(status === "enabled" ? "status_enabled" : "status_disabled")}
      />
    ),
  },
  { id: "scope", title: t("scope"), cell: (webhook) => <Scope webhook={webhook} />, wide: true },
  {
    id: "delivered",
    title: t("delivered"),
    cell: ({ counts }) => <Count of={counts.delivered} short />,
    numeric: true,
  },
  { id: "pending", title: t("pending"), cell: ({ counts }) => <Count of={counts.pending} short />, numeric: true },
  { id: "dead", title: t("dead"), cell: ({ counts }) => <Count of={counts.dead} short />, numeric: true, wide: true },
  {
    id: "error",
    title: t("lastError"),
    cell: ({ last_error, last_error_at }) =>
      last_error ? (
        <>
          <Text size="sm">{errorWords(last_error)}</Text>
          <Text size="xs" c="dimmed">
            <Time at={last_error_at} />
          </Text>
        </>
      ) : (
        "–"
      ),
    wide: true,
  },
];

export function WebhooksPage() {
  const { after } = useFilters();
  const query = useQuery(webhooksQuery(after));
  const may = useMay()("webhooks.write");
  useLive(["webhooks"]);
  const create = may && (
    <Button component={Link} to="/webhooks/new">
      {t("newEndpoint")}
    </Button>
  );
  return (
    <Page
      title={t("title")}
      lead={t("lead")}
      actions={
        <>
          <CopyAsCurl path="/v1/webhooks" query={{ after }} />
          {create}
        </>
      }
    >
      <Listing
        label={t("endpoints")}
        query={query}
        columns={COLUMNS}
        rowKey={({ id }) => id}
        empty={{
          title: t("none"),
          hint: t("noneHint"),
          children: create || undefined,
          example: `curl -H "Authorization: Bearer $KEY" ${window.location.origin}/v1/webhooks -d '{"url": "https://example.com/hooks", "event_types": ["*"]}'`,
        }}
      />
    </Page>
  );
}
