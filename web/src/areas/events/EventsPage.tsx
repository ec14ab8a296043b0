/** The page /events: the feed of all events, narrowed by type and time. */
import { Anchor, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type Event, eventsQuery } from "@/api/events";
import { eventTypesQuery } from "@/api/eventTypes";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { FilterBar, SelectFilter } from "@/parts/FilterBar";
import { type Column, Listing } from "@/parts/Listing";
import { Page } from "@/parts/Page";
import { Time } from "@/parts/Time";
import { useFilters } from "@/parts/useFilters";
import { useLive } from "@/parts/useLive";
import { EventTabs } from "./EventTabs";
import { Person } from "./Person";
import { t } from "./texts";

const HOURS = ["1", "24", "168"] as const;
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

/** Whole minutes, so that the same page asks the same while somebody looks. */
const hoursAgo = (hours: string) =>
  new Date(Math.floor((Date.now() - Number(hours) * HOUR_MS) / MINUTE_MS) * MINUTE_MS).toISOString();

/** What an event is about in a word: the metric, the page, the recipient of a message. */
function about({ data }: Event): string | undefined {
  const found = data as Record<string, unknown> | null;
  const message = found?.message as Record<string, unknown> | undefined;
  const word = found?.metric ?? found?.metricName ?? found?.name ?? message?.to ?? found?.address;
  return typeof word === "string" ? word : undefined;
}

const COLUMNS: Column<Event>[] = [
  {
    id: "type",
    title: t("type"),
    cell: ({ id, type }) => (
      <Anchor
        component={Link}
        to="/events/$id"
        params={{ id } as never}
        size="sm"
        fw={500}
        style={{ overflowWrap: "anywhere" }}
      >
        {type}
      </Anchor>
    ),
  },
  { id: "about", title: t("about"), cell: (event) => <Text size="sm">{about(event) ?? "–"}</Text>, wide: true },
  { id: "person", title: t("person"), cell: ({ profile_id, person }) => <Person id={profile_id} person={person} /> },
  { id: "occurred", title: t("occurred"), cell: ({ occurred_at }) => <Time at={occurred_at} /> },
];

export function EventsPage() {
  const filters = useFilters("type", "since");
  const { type, since } = filters.values;
  const asked = {
    ...(type && { type }),
    ...((HOURS as readonly string[]).includes(since) && { since: hoursAgo(since) }),
    after: filters.after,
  };
  const query = useQuery(eventsQuery(asked));
  const types = useQuery(eventTypesQuery).data?.data ?? [];
  useLive(["events"]);
  return (
    <Page title={t("title")} lead={t("lead")} actions={<CopyAsCurl path="/v1/events" query={asked} />}>
      <EventTabs />
      <FilterBar>
        <SelectFilter
          label={t("type")}
          value={type}
          onChange={(value) => filters.set("type", value)}
          options={types.map(({ type: value }) => ({ value, label: value }))}
        />
        <SelectFilter
          label={t("since")}
          value={since}
          onChange={(value) => filters.set("since", value)}
          options={HOURS.map((value) => ({ value, label: t(`since_${value}`) }))}
        />
      </FilterBar>
      <Listing
        label={t("title")}
        query={query}
        columns={COLUMNS}
        rowKey={({ id }) => id}
        empty={{
          title: t("none"),
          hint: t("noneHint"),
          example: `curl -u $WRITE_KEY: ${window.location.origin}/v1/track -d '{"userId": "ada", "event": "Order Shipped", "properties": {"total": 99.5}}'`,
        }}
        clearFilters={filters.clear}
      />
    </Page>
  );
}
