/** The events of a person, newest first, each with its data. */
import { Button, Stack, Text } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";
import { type PersonEvent, personTimelineQuery } from "@/api/people";
import { formatDateTime } from "@/locales/format";
import { Section } from "@/parts/Details";
import { Json } from "@/parts/Json";
import { States } from "@/parts/States";
import { Time } from "@/parts/Time";
import { t } from "./texts";

/** A tracked event is called by the name that its sender gave it. */
function eventName({ type, data }: PersonEvent): string {
  const name = (data as { event?: unknown; name?: unknown } | null)?.event;
  return typeof name === "string" && name !== type ? `${name} · ${type}` : type;
}

export function Timeline({ id }: { id: string }) {
  const events = useInfiniteQuery(personTimelineQuery(id));
  return (
    <Section title={t("timeline")} lead={t("timelineLead")}>
      <States
        query={events}
        isEmpty={({ pages }) => pages.every(({ data }) => data.length === 0)}
        empty={{ title: t("noEvents"), hint: t("noEventsHint") }}
      >
        {({ pages }) => (
          <Stack component="ol" gap="sm" m={0} p={0} style={{ listStyle: "none" }}>
            {pages
              .flatMap(({ data }) => data)
              .map((event) => (
                <Entry key={event.id} event={event} />
              ))}
          </Stack>
        )}
      </States>
      {events.hasNextPage && (
        <Button
          mt="sm"
          variant="default"
          size="xs"
          onClick={() => void events.fetchNextPage()}
          loading={events.isFetchingNextPage}
        >
          {t("older")}
        </Button>
      )}
    </Section>
  );
}

function Entry({ event }: { event: PersonEvent }) {
  const [open, setOpen] = useState(false);
  const name = eventName(event);
  return (
    <li>
      <div style={{ display: "flex", flexWrap: "wrap", alignItems: "baseline", gap: "0.25rem 0.75rem" }}>
        <Text size="sm" fw={500}>
          {name}
        </Text>
        <Text size="sm" c="dimmed">
          <Time at={event.occurred_at} />
        </Text>
        <Button
          size="compact-xs"
          variant="subtle"
          aria-expanded={open}
          aria-label={t("showRawOf", { type: name, at: formatDateTime(new Date(event.occurred_at)) })}
          onClick={() => setOpen(!open)}
        >
          {t("showRaw")}
        </Button>
      </div>
      {open && <Json value={event} label={t("rawOf", { type: name })} />}
    </li>
  );
}
