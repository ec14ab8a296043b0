/** How the workspace tracks emails and makes short links. */
import { queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

export type Tracking = Schemas["Tracking"];
export type SetTracking = Schemas["SetTracking"];

export const trackingQuery = queryOptions({
  queryKey: ["tracking"],
  queryFn: ({ signal }) => ask(client.GET("/v1/tracking", { signal })),
});

/** All settings at once: what is left out gets its default. */
export const setTracking = (body: SetTracking) => ask(client.PUT("/v1/tracking", { body }));
