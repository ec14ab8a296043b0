/** The page /webhooks/$id/deliveries: each event that is owed to the endpoint, and how far it came. */
import { Anchor } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { type Delivery, deliveriesQuery } from "@/api/webhooks";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Count } from "@/parts/Count";
import { FilterBar, SelectFilter } from "@/parts/FilterBar";
import { type Column, Listing } from "@/parts/Listing";
import { Status } from "@/parts/Status";
import { Time } from "@/parts/Time";
import { useFilters } from "@/parts/useFilters";
import { has, t } from "./texts";
import { WebhookFrame } from "./WebhookFrame";

const COLUMNS: Column<Delivery>[] = [
  {
    id: "event",
    title: t("event"),
    cell: ({ id, webhook_id, type, event_id }) => (
      <Anchor
        component={Link}
        to="/webhooks/$id/deliveries/$delivery"
        params={{ id: webhook_id, delivery: id } as never}
        size="sm"
        style={{ overflowWrap: "anywhere" }}
      >
        {type ?? event_id}
      </Anchor>
    ),
  },
  { id: "state", title: t("state"), cell: ({ state }) => <DeliveryState state={state} /> },
  { id: "tries", title: t("attempts"), cell: (delivery) => <Count of={delivery.attempt_count} />, numeric: true },
  { id: "next", title: t("next"), cell: (delivery) => <Time at={delivery.next_attempt_at} otherwise="–" /> },
  { id: "settled", title: t("settled"), cell: ({ settled_at }) => <Time at={settled_at} otherwise="–" />, wide: true },
];

export function DeliveryState({ state }: { state: string }) {
  const key = `status_${state}`;
  return <Status value={state} label={has(key) ? t(key) : undefined} />;
}

export function DeliveriesPage() {
  const { id } = useParams({ from: "/app/webhooks/$id/deliveries" });
  const filters = useFilters("state");
  const asked = { ...filters.query, after: filters.after };
  const query = useQuery(deliveriesQuery(id, asked));
  return (
    <WebhookFrame id={id}>
      {() => (
        <>
          <FilterBar end={<CopyAsCurl path={`/v1/webhooks/${id}/deliveries`} query={asked} />}>
            <SelectFilter
              label={t("state")}
              value={filters.values.state}
              onChange={(value) => filters.set("state", value)}
              options={(["pending", "delivered", "dead"] as const).map((value) => ({
                value,
                label: t(`status_${value}`),
              }))}
            />
          </FilterBar>
          <Listing
            label={t("deliveries")}
            query={query}
            columns={COLUMNS}
            rowKey={(delivery) => delivery.id}
            empty={{ title: t("noDeliveries"), hint: t("noDeliveriesHint") }}
            clearFilters={filters.clear}
          />
        </>
      )}
    </WebhookFrame>
  );
}
