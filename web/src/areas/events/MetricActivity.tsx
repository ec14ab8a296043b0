/** The events of a metric one by one, each with its data when asked for. */
import { Button, Group, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { type Activity, activityQuery } from "@/api/metrics";
import { Section } from "@/parts/Details";
import { Json } from "@/parts/Json";
import { type Column, Listing } from "@/parts/Listing";
import { Time } from "@/parts/Time";
import { Person } from "./Person";
import { t } from "./texts";

interface Props {
  id: string;
  status: string;
  after: string | undefined;
  clear: (() => void) | undefined;
}

const COLUMNS: Column<Activity>[] = [
  {
    id: "person",
    title: t("person"),
    cell: ({ person }) => <Person id={null} person={person} />,
  },
  { id: "status", title: t("status"), cell: ({ status }) => <Text size="sm">{status ?? "–"}</Text>, wide: true },
  { id: "occurred", title: t("occurred"), cell: ({ occurred_at }) => <Time at={occurred_at} /> },
  { id: "data", title: t("data"), cell: ({ data }) => <Data data={data} /> },
];

export function MetricActivity({ id, status, after, clear }: Props) {
  const query = useQuery(activityQuery(id, { ...(status && { Status: status }), after }));
  return (
    <Section title={t("activity")} lead={t("activityLead")}>
      <Listing
        label={t("activity")}
        query={query}
        columns={COLUMNS}
        rowKey={(activity) => activity.id}
        empty={{ title: t("noActivity") }}
        clearFilters={status ? clear : undefined}
      />
    </Section>
  );
}

function Data({ data }: { data: unknown }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <Group>
        <Button size="compact-xs" variant="default" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? t("hideData") : t("showData")}
        </Button>
      </Group>
      {open && <Json value={data} />}
    </>
  );
}
