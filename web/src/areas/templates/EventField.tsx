/** Chooses the event that a preview is made with: its metric, then one of the latest. */
import { NativeSelect, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useMay } from "@/api/me";
import { type Activity, activityQuery } from "@/api/metrics";
import { metricNamesQuery } from "@/api/segments";
import { formatDateTime } from "@/locales/format";
import { t } from "./texts";

/** The properties of an event, from what it carries. */
export function propertiesOf(data: unknown): Record<string, unknown> {
  const found = (data as { properties?: unknown } | null | undefined)?.properties;
  return typeof found === "object" && found !== null ? (found as Record<string, unknown>) : {};
}

/** What the template finds as `event`, in a message that names no event. */
export const eventValues = ({ id, occurred_at: time, data }: Activity): Record<string, unknown> => ({
  id,
  metric: (data as { metric?: unknown } | null)?.metric ?? null,
  time,
  ...propertiesOf(data),
});

export function EventField({ change }: { change: (event: Activity | undefined) => void }) {
  const may = useMay()("events.read");
  const [metric, setMetric] = useState("");
  const [id, setId] = useState("");
  const metrics = useQuery({ ...metricNamesQuery, enabled: may }).data?.data ?? [];
  const found = useQuery({ ...activityQuery(metric, {}), enabled: metric !== "", placeholderData: undefined });
  const events = metric === "" ? undefined : found.data?.data;
  const chosen = events?.find((one) => one.id === id) ?? events?.[0];
  // biome-ignore lint/correctness/useExhaustiveDependencies: only another event is another preview.
  useEffect(() => change(chosen), [chosen?.id]);
  if (!may) return null;
  return (
    <div>
      <NativeSelect
        label={t("event")}
        description={t("eventHint")}
        value={metric}
        onChange={(event) => {
          setMetric(event.currentTarget.value);
          setId("");
        }}
        data={[{ value: "", label: t("noEvent") }, ...metrics.map(({ id: value, name }) => ({ value, label: name }))]}
      />
      {events && events.length > 0 && (
        <NativeSelect
          mt="xs"
          label={t("whichEvent")}
          description={t("whichEventHint")}
          value={chosen?.id ?? ""}
          onChange={(event) => setId(event.currentTarget.value)}
          data={events.map((one) => ({
            value: one.id,
            label: t("eventOf", { when: formatDateTime(new Date(one.occurred_at)), who: whoOf(one) }),
          }))}
        />
      )}
      {events?.length === 0 && (
        <Text size="sm" role="status" mt={4}>
          {t("noEvents")}
        </Text>
      )}
    </div>
  );
}

function whoOf({ person }: Activity): string {
  if (!person) return t("nobody");
  const name = [person.first_name, person.last_name].filter(Boolean).join(" ");
  return name || person.email || person.phone || person.user_id || person.id;
}
