/** The page /events/metrics: every metric with its counts. */
import { Anchor } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type Metric, metricsQuery } from "@/api/metrics";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Count } from "@/parts/Count";
import { FilterBar } from "@/parts/FilterBar";
import { type Column, Listing } from "@/parts/Listing";
import { Page } from "@/parts/Page";
import { Time } from "@/parts/Time";
import { useFilters } from "@/parts/useFilters";
import { useLive } from "@/parts/useLive";
import { DaysFilter, daysOf } from "./DaysFilter";
import { EventTabs } from "./EventTabs";
import { t } from "./texts";

export function MetricsPage() {
  const filters = useFilters("days");
  const days = daysOf(filters.values.days);
  const query = useQuery(metricsQuery(days, filters.after));
  useLive(["metrics"]);
  const columns: Column<Metric>[] = [
    {
      id: "metric",
      title: t("metric"),
      cell: ({ id, name }) => (
        <Anchor
          component={Link}
          to="/events/metrics/$id"
          params={{ id } as never}
          search={(filters.values.days ? { days: filters.values.days } : {}) as never}
          size="sm"
          fw={500}
        >
          {name}
        </Anchor>
      ),
    },
    { id: "source", title: t("source"), cell: ({ source }) => t(`source_${source}`), wide: true },
    { id: "count", title: t("count"), cell: ({ count }) => <Count of={count} short />, numeric: true },
    { id: "total", title: t("total"), cell: ({ total }) => <Count of={total} short />, numeric: true },
    { id: "seen", title: t("lastSeen"), cell: ({ last_seen }) => <Time at={last_seen} /> },
  ];
  return (
    <Page
      title={t("metrics")}
      area={t("title")}
      lead={t("metricsLead")}
      actions={<CopyAsCurl path="/v1/metrics" query={{ days, after: filters.after }} />}
    >
      <EventTabs />
      <FilterBar>
        <DaysFilter value={filters.values.days} onChange={(value) => filters.set("days", value)} />
      </FilterBar>
      <Listing
        label={t("metrics")}
        query={query}
        columns={columns}
        rowKey={({ id }) => id}
        empty={{ title: t("noMetrics"), hint: t("noMetricsHint") }}
      />
    </Page>
  );
}
