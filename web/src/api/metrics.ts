/** Metrics: how often each event happened, as a list, over time, and one by one. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

export type Metric = Schemas["Metric"];
export type Timeline = Schemas["Timeline"];
export type Activity = Schemas["Activity"];

export const metricsQuery = (days: number, after?: string) =>
  queryOptions({
    queryKey: ["metrics", { days, after }],
    queryFn: ({ signal }) => ask(client.GET("/v1/metrics", { params: { query: { days, after } }, signal })),
    placeholderData: keepPreviousData,
  });

export const metricQuery = (id: string, days: number) =>
  queryOptions({
    queryKey: ["metrics", id, { days }],
    queryFn: ({ signal }) => ask(client.GET("/v1/metrics/{id}", { params: { path: { id }, query: { days } }, signal })),
    placeholderData: keepPreviousData,
  });

/** The period ends now, so it is part of the request and not of the key. */
export const timelineQuery = (id: string, days: number, byStatus: boolean, timezone: string) =>
  queryOptions({
    queryKey: ["metrics", id, "timeline", { days, byStatus, timezone }],
    queryFn: ({ signal }) => {
      const since = new Date(Date.now() - days * 86_400_000).toISOString();
      const query = {
        interval: days > 3 ? "day" : "hour",
        since,
        timezone,
        by: byStatus ? ("Status" as const) : undefined,
      } as const;
      return ask(client.GET("/v1/metrics/{id}/timeline", { params: { path: { id }, query }, signal }));
    },
    placeholderData: keepPreviousData,
  });

export const activityQuery = (id: string, query: { Status?: string; after?: string }) =>
  queryOptions({
    queryKey: ["metrics", id, "activity", query],
    queryFn: ({ signal }) => ask(client.GET("/v1/metrics/{id}/activity", { params: { path: { id }, query }, signal })),
    placeholderData: keepPreviousData,
  });
