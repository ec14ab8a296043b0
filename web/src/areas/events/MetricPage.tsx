/** The page /events/metrics/$id: the metric over time as a chart and a table, then its events one by one. */
import { Skeleton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { metricQuery, type Timeline, timelineQuery } from "@/api/metrics";
import { formatDate, formatDateTime } from "@/locales/format";
import { Chart } from "@/parts/Chart";
import { CopyAsCurl } from "@/parts/CopyAsCurl";
import { Count } from "@/parts/Count";
import { Details, Section } from "@/parts/Details";
import { FilterBar, SelectFilter } from "@/parts/FilterBar";
import { Page } from "@/parts/Page";
import { States } from "@/parts/States";
import { Time } from "@/parts/Time";
import { useFilters } from "@/parts/useFilters";
import { useLive } from "@/parts/useLive";
import { DaysFilter, daysOf } from "./DaysFilter";
import { EventTabs } from "./EventTabs";
import { MetricActivity } from "./MetricActivity";
import { t } from "./texts";

/** The height of the chart in CSS pixels: what takes its place while it loads is as high. */
const HEIGHT = 260;

export function MetricPage() {
  const { id } = useParams({ from: "/app/events/metrics/$id" });
  const filters = useFilters("days", "status");
  const days = daysOf(filters.values.days);
  const query = useQuery(metricQuery(id, days));
  const metric = query.data;
  const byStatus = metric?.source === "text";
  const timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const timeline = useQuery({ ...timelineQuery(id, days, byStatus, timezone), enabled: metric !== undefined });
  useLive(["metrics", id]);
  const statuses = Object.keys(metric?.statuses ?? {});
  return (
    <Page
      title={metric?.name ?? t("metrics")}
      area={t("title")}
      lead={metric && t(`source_${metric.source}`)}
      actions={<CopyAsCurl path={`/v1/metrics/${id}`} query={{ days }} />}
    >
      <EventTabs />
      <FilterBar>
        <DaysFilter value={filters.values.days} onChange={(value) => filters.set("days", value)} />
        {statuses.length > 0 && (
          <SelectFilter
            label={t("status")}
            value={filters.values.status}
            onChange={(value) => filters.set("status", value)}
            options={statuses.map((value) => ({ value, label: value }))}
          />
        )}
      </FilterBar>
      <States query={query}>
        {(found) => (
          <Details
            rows={[
              [t("count"), <Count key="count" of={found.count} />],
              [t("total"), <Count key="total" of={found.total} />],
              [t("lastSeen"), <Time key="seen" at={found.last_seen} />],
            ]}
          />
        )}
      </States>
      {metric && (
        <Section title={t("overTime")} lead={timeline.data && words(timeline.data)}>
          <States query={timeline} skeleton={<Skeleton height={HEIGHT} />}>
            {(found) => <Counts timeline={narrowed(found, filters.values.status)} />}
          </States>
        </Section>
      )}
      <MetricActivity id={id} status={filters.values.status} after={filters.after} clear={filters.clear} />
    </Page>
  );
}

function Counts({ timeline: { name, interval, starts, series } }: { timeline: Timeline }) {
  return (
    <Chart
      label={t("chartOf", { name })}
      times={starts.map((start) => Date.parse(start) / 1000)}
      series={series.map(({ status, counts }) => ({ name: status ?? t("events"), values: counts }))}
      formatTime={interval === "day" ? formatDate : formatDateTime}
      height={HEIGHT}
    />
  );
}

function words({ series, interval, timezone }: Timeline): string {
  const n = series.reduce((sum, { total }) => sum + total, 0);
  return t("overTimeLead", { n, interval, zone: timezone });
}

function narrowed(timeline: Timeline, status: string): Timeline {
  if (!status) return timeline;
  return { ...timeline, series: timeline.series.filter((series) => series.status === status) };
}
