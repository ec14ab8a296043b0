/** API keys. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

export type ApiKey = Schemas["ApiKey"];

export const keysQuery = (after?: string) =>
  queryOptions({
    queryKey: ["keys", { after }],
    queryFn: ({ signal }) => ask(client.GET("/v1/keys", { params: { query: { after } }, signal })),
    placeholderData: keepPreviousData,
  });

export const createKey = (body: Schemas["CreateApiKey"]) => ask(client.POST("/v1/keys", { body }));

export const rotateKey = (id: string, overlapHours: number) =>
  ask(client.POST("/v1/keys/{id}/rotate", { params: { path: { id } }, body: { overlap_hours: overlapHours } }));

export const deleteKey = (id: string) => ask(client.DELETE("/v1/keys/{id}", { params: { path: { id } } }));
