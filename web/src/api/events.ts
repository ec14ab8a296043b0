/** The events of the workspace. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

export type Event = Schemas["Event"];

export interface EventFilters {
  type?: string;
  since?: string;
  until?: string;
  after?: string;
}

export const eventsQuery = (query: EventFilters) =>
  queryOptions({
    queryKey: ["events", query],
    queryFn: ({ signal }) => ask(client.GET("/v1/events", { params: { query }, signal })),
    placeholderData: keepPreviousData,
  });

export const eventQuery = (id: string) =>
  queryOptions({
    queryKey: ["events", id],
    queryFn: ({ signal }) => ask(client.GET("/v1/events/{id}", { params: { path: { id } }, signal })),
  });
