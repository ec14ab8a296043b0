/** Connections to providers, and the connectors that they are made of. */
import { queryOptions } from "@tanstack/react-query";
import { ask, client, ifMatch, type Schemas } from "./client";

export type Connection = Schemas["Connection"];
export type Connector = Schemas["Connector"];
export type ConnectorField = Schemas["ConnectorField"];
export type SetupCheck = Schemas["SetupCheck"];

const at = (id: string) => ({ path: { id } });

/** All of them: a workspace has at most 200. */
export const connectionsQuery = queryOptions({
  queryKey: ["connections"],
  queryFn: ({ signal }) => ask(client.GET("/v1/connections", { params: { query: { limit: 1000 } }, signal })),
});

export const connectionQuery = (id: string) =>
  queryOptions({
    queryKey: ["connections", id],
    queryFn: ({ signal }) => ask(client.GET("/v1/connections/{id}", { params: at(id), signal })),
  });

export const connectorsQuery = queryOptions({
  queryKey: ["connectors"],
  queryFn: ({ signal }) => ask(client.GET("/v1/connectors", { signal })),
  staleTime: 60_000,
});

/** The guide and the policy change with the connection, and with nothing else. */
export const setupQuery = ({ id, updated_at }: Connection) =>
  queryOptions({
    queryKey: ["connection-setup", id, updated_at],
    queryFn: ({ signal }) => ask(client.GET("/v1/connections/{id}/setup", { params: at(id), signal })),
  });

export const policyQuery = ({ id, updated_at }: Connection) =>
  queryOptions({
    queryKey: ["connection-policy", id, updated_at],
    queryFn: ({ signal }) => ask(client.GET("/v1/connections/{id}/iam-policy", { params: at(id), signal })),
  });

export const createConnection = (body: Schemas["CreateConnection"]) => ask(client.POST("/v1/connections", { body }));

export const changeConnection = (id: string, body: Schemas["UpdateConnection"], version?: string) =>
  ask(client.PATCH("/v1/connections/{id}", { params: { ...at(id), header: ifMatch(version) }, body }));

export const deleteConnection = (id: string) => ask(client.DELETE("/v1/connections/{id}", { params: at(id) }));

export const enableConnection = (id: string) => ask(client.POST("/v1/connections/{id}/enable", { params: at(id) }));

export const disableConnection = (id: string) => ask(client.POST("/v1/connections/{id}/disable", { params: at(id) }));

export const checkConnection = (id: string) => ask(client.POST("/v1/connections/{id}/check", { params: at(id) }));

export const rotateReceiptsKey = (id: string) =>
  ask(client.POST("/v1/connections/{id}/rotate-receipts-key", { params: at(id) }));

export const sendTestMessage = (id: string, body: Schemas["SendTestMessage"]) =>
  ask(client.POST("/v1/connections/{id}/test", { params: at(id), body }));

export const orderConnections = (channel: string, connections: string[]) =>
  ask(client.POST("/v1/connections/order", { body: { channel, connections } }));
