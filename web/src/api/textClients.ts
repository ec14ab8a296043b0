/** Clients of the text-message API: who may send texts from the flows of a marketing tool. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

export type TextClient = Schemas["TextClient"];

const at = (id: string) => ({ path: { id } });

export const textClientsQuery = (after?: string) =>
  queryOptions({
    queryKey: ["text-clients", { after }],
    queryFn: ({ signal }) => ask(client.GET("/v1/text-clients", { params: { query: { after } }, signal })),
    placeholderData: keepPreviousData,
  });

export const createTextClient = (body: Schemas["CreateTextClient"]) => ask(client.POST("/v1/text-clients", { body }));

export const deleteTextClient = (id: string) => ask(client.DELETE("/v1/text-clients/{id}", { params: at(id) }));

/** The old secret is valid for another day. */
export const rotateTextClient = (id: string) =>
  ask(client.POST("/v1/text-clients/{id}/rotate", { params: at(id), body: {} }));
