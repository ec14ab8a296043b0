/** Webhook endpoints, their secrets, tests, deliveries and replays. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, ifMatch, type Schemas } from "./client";

export type Webhook = Schemas["Webhook"];
export type Delivery = Schemas["Delivery"];
export type Replay = Schemas["Replay"];
export type Attempt = Schemas["Attempt"];
export type ReplayState = "missed" | "undelivered" | "dead" | "delivered" | "all";

const at = (id: string) => ({ path: { id } });

export const webhooksQuery = (after?: string) =>
  queryOptions({
    queryKey: ["webhooks", { after }],
    queryFn: ({ signal }) => ask(client.GET("/v1/webhooks", { params: { query: { after } }, signal })),
    placeholderData: keepPreviousData,
  });

export const webhookQuery = (id: string) =>
  queryOptions({
    queryKey: ["webhooks", id],
    queryFn: ({ signal }) => ask(client.GET("/v1/webhooks/{id}", { params: at(id), signal })),
  });

export const createWebhook = (body: Schemas["CreateWebhook"]) => ask(client.POST("/v1/webhooks", { body }));

export const changeWebhook = (id: string, body: Schemas["UpdateWebhook"], version?: string) =>
  ask(client.PATCH("/v1/webhooks/{id}", { params: { ...at(id), header: ifMatch(version) }, body }));

export const deleteWebhook = (id: string) => ask(client.DELETE("/v1/webhooks/{id}", { params: at(id) }));

export const enableWebhook = (id: string, replay: boolean) =>
  ask(client.POST("/v1/webhooks/{id}/enable", { params: at(id), body: { replay } }));

export const disableWebhook = (id: string) => ask(client.POST("/v1/webhooks/{id}/disable", { params: at(id) }));

export const readSecret = (id: string) => ask(client.GET("/v1/webhooks/{id}/secret", { params: at(id) }));

export const readPublicKey = (id: string) => ask(client.GET("/v1/webhooks/{id}/public-key", { params: at(id) }));

export const rotateSecret = (id: string, overlap: number) =>
  ask(client.POST("/v1/webhooks/{id}/secret/rotate", { params: at(id), body: { overlap } }));

export const sendTestEvent = (id: string, eventType: string) =>
  ask(client.POST("/v1/webhooks/{id}/test", { params: at(id), body: eventType ? { event_type: eventType } : {} }));

export const formatsQuery = queryOptions({
  queryKey: ["webhook-formats"],
  queryFn: ({ signal }) => ask(client.GET("/v1/webhook-formats", { params: { query: { limit: 1000 } }, signal })),
  staleTime: 60_000,
});

export const deliveriesQuery = (id: string, query: { state?: string; after?: string; limit?: number }) =>
  queryOptions({
    queryKey: ["webhooks", id, "deliveries", query],
    queryFn: ({ signal }) => ask(client.GET("/v1/webhooks/{id}/deliveries", { params: { ...at(id), query }, signal })),
    placeholderData: keepPreviousData,
  });

/** Its key begins like that of its endpoint's, so that what changes one loads the other again. */
export const deliveryQuery = (webhook: string, id: string) =>
  queryOptions({
    queryKey: ["webhooks", webhook, "deliveries", id],
    queryFn: ({ signal }) => ask(client.GET("/v1/deliveries/{id}", { params: at(id), signal })),
  });

export const retryDelivery = (id: string) => ask(client.POST("/v1/deliveries/{id}/retry", { params: at(id) }));

export const replaysQuery = (id: string, after?: string) =>
  queryOptions({
    queryKey: ["webhooks", id, "replays", { after }],
    queryFn: ({ signal }) =>
      ask(client.GET("/v1/webhooks/{id}/replays", { params: { ...at(id), query: { after } }, signal })),
    placeholderData: keepPreviousData,
  });

export const startReplay = (id: string, body: Schemas["StartReplay"]) =>
  ask(client.POST("/v1/webhooks/{id}/replay", { params: at(id), body }));

export const cancelReplay = (id: string) => ask(client.POST("/v1/replays/{id}/cancel", { params: at(id) }));

export const ledgerQuery = queryOptions({
  queryKey: ["ledger"],
  queryFn: ({ signal }) => ask(client.GET("/v1/ledger", { signal })),
});
