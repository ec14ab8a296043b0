/** Addresses to which nothing is sent. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

export type Suppression = Schemas["Suppression"];

interface Filters {
  channel?: string;
  address?: string;
  profile_id?: string;
  after?: string;
}

export const suppressionsQuery = (filters: Filters) =>
  queryOptions({
    queryKey: ["suppressions", filters],
    queryFn: ({ signal }) => ask(client.GET("/v1/suppressions", { params: { query: filters }, signal })),
    placeholderData: keepPreviousData,
  });

export const suppress = (body: Schemas["CreateSuppression"]) => ask(client.POST("/v1/suppressions", { body }));

export const unsuppress = (channel: string, address: string) =>
  ask(client.DELETE("/v1/suppressions", { params: { query: { channel, address } } }));
