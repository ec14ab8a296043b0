/** API keys. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import type { Key } from "./account-schema";
import { ask, client, type Schemas } from "./client";

/** With what newer servers say of a key. */
export type ApiKey = Omit<Schemas["ApiKey"], "scopes"> & { scopes: string[] } & Partial<
    Pick<Key, "expires_at" | "last_used_at" | "last_used_ip">
  >;

export const keysQuery = (after?: string) =>
  queryOptions({
    queryKey: ["keys", { after }],
    queryFn: async ({ signal }): Promise<{ data: ApiKey[]; next?: string | null }> =>
      ask(client.GET("/v1/keys", { params: { query: { after } }, signal })),
    placeholderData: keepPreviousData,
  });

export interface NewKey {
  name: string;
  scopes: string[];
  expires_at?: string;
}

export const createKey = (body: NewKey) => ask(client.POST("/v1/keys", { body: body as Schemas["CreateApiKey"] }));

export const rotateKey = (id: string, overlapHours: number) =>
  ask(client.POST("/v1/keys/{id}/rotate", { params: { path: { id } }, body: { overlap_hours: overlapHours } }));

export const deleteKey = (id: string) => ask(client.DELETE("/v1/keys/{id}", { params: { path: { id } } }));
