/** What the command palette finds: people by identifier or name, messages by id or recipient. */
import { queryOptions } from "@tanstack/react-query";
import { ask, client } from "./client";
import { Problem } from "./problem";

export interface Found {
  kind: "person" | "message" | "webhook" | "campaign";
  id: string;
  name: string;
}

/** A search that may not be made, or finds nothing, finds nothing. */
async function orNone<T>(asked: Promise<T[]>): Promise<T[]> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Problem && !error.temporary) return [];
    throw error;
  }
}

async function findPeople(text: string, signal: AbortSignal): Promise<Found[]> {
  const query = text.includes("@") ? { email: text } : /^\+\d{6,}$/.test(text) ? { phone: text } : { query: text };
  const { data } = await ask(client.GET("/v1/profiles", { params: { query: { ...query, limit: 5 } }, signal }));
  return data.map((one) => ({ kind: "person", id: one.id, name: one.email ?? one.phone ?? one.id }));
}

async function findById(id: string, signal: AbortSignal): Promise<Found[]> {
  const params = { path: { id } };
  switch (id.slice(0, 4)) {
    case "msg_": {
      const found = await ask(client.GET("/v1/messages/{id}", { params, signal }));
      return [{ kind: "message", id: found.id, name: found.to }];
    }
    case "pro_": {
      const found = await ask(client.GET("/v1/profiles/{id}", { params, signal }));
      return [{ kind: "person", id: found.id, name: found.email ?? found.phone ?? found.id }];
    }
    case "whk_": {
      const found = await ask(client.GET("/v1/webhooks/{id}", { params, signal }));
      return [{ kind: "webhook", id: found.id, name: found.url }];
    }
    case "cmp_": {
      const found = await ask(client.GET("/v1/campaigns/{id}", { params, signal }));
      return [{ kind: "campaign", id: found.id, name: found.name }];
    }
  }
  return [];
}

export const searchQuery = (text: string) =>
  queryOptions({
    queryKey: ["search", text],
    queryFn: async ({ signal }): Promise<Found[]> =>
      /^(msg|pro|whk|cmp)_[0-9a-f]+$/.test(text) ? orNone(findById(text, signal)) : orNone(findPeople(text, signal)),
    enabled: text.length >= 3,
    staleTime: 30_000,
  });
