/** What the first page shows, from the existing lists and counts. The keys begin with the nouns that the figures are of. */
import { queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

const HOUR_MS = 3_600_000;
export const HOURS = 24;

export interface HourlyMessages {
  /** Per hour of the last day, the oldest first. */
  sent: number[];
  totals: Record<string, number>;
  /** Failures by code, the most first; null where the provider gave none. */
  failures: { code: number | null; reason: string | null; count: number }[];
}

/** Adds up the counts of messages. `now` is given so that the hours are those of the request. */
export function addUp(rows: readonly Schemas["MessageCount"][], now: number): HourlyMessages {
  const first = Math.floor(now / HOUR_MS) - HOURS + 1;
  const sent = Array<number>(HOURS).fill(0);
  const totals: Record<string, number> = {};
  const codes = new Map<number | null, { reason: string | null; count: number }>();
  for (const { hour, status, code, reason, count } of rows) {
    totals[status] = (totals[status] ?? 0) + count;
    if (status === "failed") codes.set(code, { reason, count: (codes.get(code)?.count ?? 0) + count });
    const at = Math.floor(Date.parse(hour) / HOUR_MS) - first;
    if (status === "sent" && at >= 0 && at < HOURS) sent[at] = (sent[at] ?? 0) + count;
  }
  const failures = [...codes]
    .map(([code, found]) => ({ code, ...found }))
    .sort((one, other) => other.count - one.count);
  return { sent, totals, failures };
}

/** The counts of the last day, with when they were asked for. */
const messageCounts = {
  queryKey: ["messages", "figures"],
  queryFn: async ({ signal }: { signal: AbortSignal }) => {
    const now = Date.now();
    const since = new Date((Math.floor(now / HOUR_MS) - HOURS + 1) * HOUR_MS).toISOString();
    const { data } = await ask(client.GET("/v1/message-counts", { params: { query: { since } }, signal }));
    return { rows: data, now };
  },
};

export const messageFigures = queryOptions({ ...messageCounts, select: ({ rows, now }) => addUp(rows, now) });

/** The figures of one connection. */
export const connectionFigures = (id: string) =>
  queryOptions({
    ...messageCounts,
    select: ({ rows, now }) =>
      addUp(
        rows.filter(({ connection_id }) => connection_id === id),
        now,
      ),
  });

/** The metrics that moved on the last day, the most first. */
export const eventFigures = queryOptions({
  queryKey: ["events", "figures"],
  queryFn: async ({ signal }) => {
    const query = { days: 1, limit: 1000 };
    const { data } = await ask(client.GET("/v1/metrics", { params: { query }, signal }));
    const moved = data.filter(({ count }) => count > 0).sort((one, other) => other.count - one.count);
    return { total: moved.reduce((sum, { count }) => sum + count, 0), metrics: moved, ever: data.length > 0 };
  },
});

export const ledgerQuery = queryOptions({
  queryKey: ["webhooks", "ledger"],
  queryFn: ({ signal }) => ask(client.GET("/v1/ledger", { signal })),
});

export const endpointsQuery = queryOptions({
  queryKey: ["webhooks", "home"],
  queryFn: ({ signal }) => ask(client.GET("/v1/webhooks", { params: { query: { limit: 1000 } }, signal })),
});

export const connectionsHome = queryOptions({
  queryKey: ["connections", "home"],
  queryFn: ({ signal }) => ask(client.GET("/v1/connections", { params: { query: { limit: 200 } }, signal })),
});

async function campaignsIn(state: "live" | "paused" | "scheduled", signal: AbortSignal) {
  const { data } = await ask(client.GET("/v1/campaigns", { params: { query: { state, limit: 20 } }, signal }));
  return data;
}

export const runningCampaigns = queryOptions({
  queryKey: ["campaigns", "running"],
  queryFn: async ({ signal }) => {
    const states = ["live", "paused", "scheduled"] as const;
    return { data: (await Promise.all(states.map((state) => campaignsIn(state, signal)))).flat() };
  },
});

export const latestEvents = queryOptions({
  queryKey: ["events", "latest"],
  queryFn: ({ signal }) => ask(client.GET("/v1/events", { params: { query: { limit: 12 } }, signal })),
});

export const anyMessage = queryOptions({
  queryKey: ["messages", "any"],
  queryFn: ({ signal }) => ask(client.GET("/v1/messages", { params: { query: { limit: 1 } }, signal })),
});

export const pauseCampaign = (id: string) => ask(client.POST("/v1/campaigns/{id}/pause", { params: { path: { id } } }));

export const resumeCampaign = (id: string) =>
  ask(client.POST("/v1/campaigns/{id}/resume", { params: { path: { id } } }));

export const sendFirstText = ({ to, text }: { to: string; text: string }) =>
  ask(client.POST("/v1/messages", { body: { channel: "sms", to, text } }));

export const followMessage = (id: string) =>
  queryOptions({
    queryKey: ["messages", id],
    queryFn: ({ signal }) => ask(client.GET("/v1/messages/{id}", { params: { path: { id } }, signal })),
  });

export const addFirstEndpoint = ({ url }: { url: string }) =>
  ask(client.POST("/v1/webhooks", { body: { url, event_types: ["*"] } }));

export const sendFirstEvent = (id: string) =>
  ask(client.POST("/v1/webhooks/{id}/test", { params: { path: { id } }, body: {} }));
