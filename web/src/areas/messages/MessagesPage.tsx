/** The page /messages: the log, narrowed by whom, what became of it, where it came from, and when. */
import { Anchor, Badge, Group, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { connectionsQuery } from "@/api/connections";
import { useMay } from "@/api/me";
import { type Message, messagesQuery } from "@/api/messages";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { DayFilter, dayBegins, FilterBar, SelectFilter, TextFilter } from "@/parts/FilterBar";
import { type Column, Listing } from "@/parts/Listing";
import { Page } from "@/parts/Page";
import { Reason } from "@/parts/Reason";
import { Time } from "@/parts/Time";
import { useFilters } from "@/parts/useFilters";
import { useLive } from "@/parts/useLive";
import { MessageState, reasonWords, STATUSES } from "./MessageState";
import { has, t } from "./texts";

const NAMES = [
  ...(["to", "status", "channel", "connection_id", "profile_id", "campaign", "code", "provider_message_id"] as const),
  ...(["since", "until"] as const),
] as const;
const CHANNELS = ["sms", "email", "event"] as const;

export function MessagesPage() {
  const filters = useFilters(...NAMES);
  const { code, since, until, ...plain } = filters.query;
  const asked = {
    ...plain,
    ...(/^\d+$/.test(code ?? "") && { code: Number(code) }),
    since: dayBegins(since),
    until: dayBegins(until, 1),
    after: filters.after,
  };
  const query = useQuery(messagesQuery(asked));
  const may = useMay()("connections.read");
  const connections = useQuery({ ...connectionsQuery, enabled: may }).data?.data ?? [];
  useLive(["messages"]);
  const named = (id: string) => connections.find((connection) => connection.id === id)?.name ?? id;
  const columns: Column<Message>[] = [
    {
      id: "to",
      title: t("address"),
      cell: ({ id, to, test }) => (
        <Group gap={6}>
          <Anchor
            component={Link}
            to="/messages/$id"
            params={{ id } as never}
            size="sm"
            fw={500}
            style={{ overflowWrap: "anywhere" }}
          >
            {to || id}
          </Anchor>
          {test && (
            <Badge size="xs" variant="light" color="gray" tt="none">
              {t("test")}
            </Badge>
          )}
        </Group>
      ),
    },
    { id: "status", title: t("status"), cell: ({ status }) => <MessageState status={status} /> },
    {
      id: "reason",
      title: t("reason"),
      cell: ({ code, failure, reason }) => <Reason code={code} text={failure ?? reasonWords(reason)} />,
      wide: true,
    },
    {
      id: "channel",
      title: t("channel"),
      cell: ({ channel }) => (
        <Text size="sm">{has(`channel_${channel}`) ? t(`channel_${channel}` as never) : channel}</Text>
      ),
      wide: true,
    },
    { id: "connection", title: t("connection"), cell: ({ connection_id }) => named(connection_id), wide: true },
    { id: "created", title: t("accepted"), cell: ({ created_at }) => <Time at={created_at} /> },
  ];
  return (
    <Page title={t("title")} lead={t("lead")} actions={<CopyAsCurl path="/v1/messages" query={asked} />}>
      <FilterBar>
        <TextFilter
          label={t("address")}
          placeholder={t("addressHint")}
          value={filters.values.to}
          onChange={(value) => filters.set("to", value.trim())}
        />
        <SelectFilter
          label={t("status")}
          value={filters.values.status}
          onChange={(value) => filters.set("status", value)}
          options={STATUSES.map((value) => ({ value, label: t(`status_${value}`) }))}
        />
        <SelectFilter
          label={t("channel")}
          value={filters.values.channel}
          onChange={(value) => filters.set("channel", value)}
          options={CHANNELS.map((value) => ({ value, label: t(`channel_${value}`) }))}
        />
        <SelectFilter
          label={t("connection")}
          value={filters.values.connection_id}
          onChange={(value) => filters.set("connection_id", value)}
          options={connections.map(({ id, name }) => ({ value: id, label: name }))}
        />
        <TextFilter
          label={t("campaign")}
          value={filters.values.campaign}
          onChange={(value) => filters.set("campaign", value.trim())}
        />
        <TextFilter
          label={t("code")}
          value={filters.values.code}
          onChange={(value) => filters.set("code", value.replace(/\D/g, "").slice(0, 5))}
        />
        <TextFilter
          label={t("providerId")}
          value={filters.values.provider_message_id}
          onChange={(value) => filters.set("provider_message_id", value.trim())}
        />
        <DayFilter
          label={t("from_day")}
          value={filters.values.since}
          onChange={(value) => filters.set("since", value)}
        />
        <DayFilter label={t("to_day")} value={filters.values.until} onChange={(value) => filters.set("until", value)} />
        {filters.values.profile_id && (
          <TextFilter
            label={t("person")}
            value={filters.values.profile_id}
            onChange={(value) => filters.set("profile_id", value.trim())}
          />
        )}
      </FilterBar>
      <Listing
        label={t("title")}
        query={query}
        columns={columns}
        rowKey={({ id }) => id}
        empty={{
          title: t("none"),
          hint: t("noneHint"),
          example: `curl -H "Authorization: Bearer $KEY" ${window.location.origin}/v1/messages -d '{"channel": "sms", "to": "+12025550101", "text": "Hello"}'`,
        }}
        clearFilters={filters.clear}
      />
    </Page>
  );
}
