/** The types that events of the workspace have, each with an example. */
import { queryOptions } from "@tanstack/react-query";
import { ask, client } from "./client";

export const eventTypesQuery = queryOptions({
  queryKey: ["event-types"],
  queryFn: ({ signal }) => ask(client.GET("/v1/event-types", { params: { query: { limit: 1000 } }, signal })),
  staleTime: 60_000,
});
