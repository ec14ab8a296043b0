/** Clients of the text-message API: who may send texts from the flows of a marketing tool. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, ifMatch, type Schemas } from "./client";

export type TextClient = Schemas["TextClient"];

const at = (id: string) => ({ path: { id } });

export const textClientsQuery = (after?: string) =>
  queryOptions({
    queryKey: ["text-clients", { after }],
    queryFn: ({ signal }) => ask(client.GET("/v1/text-clients", { params: { query: { after } }, signal })),
    placeholderData: keepPreviousData,
  });

export const textClientQuery = (id: string) =>
  queryOptions({
    queryKey: ["text-clients", id],
    queryFn: ({ signal }) => ask(client.GET("/v1/text-clients/{id}", { params: at(id), signal })),
  });

export const changeTextClient = (id: string, body: Schemas["ChangeTextClient"], version: string | undefined) =>
  ask(client.PATCH("/v1/text-clients/{id}", { params: { ...at(id), header: ifMatch(version) }, body }));

export const createTextClient = (body: Schemas["CreateTextClient"]) => ask(client.POST("/v1/text-clients", { body }));

export const deleteTextClient = (id: string) => ask(client.DELETE("/v1/text-clients/{id}", { params: at(id) }));

/** The old secret is valid for some more seconds. */
export const rotateTextClient = (id: string, overlap: number) =>
  ask(client.POST("/v1/text-clients/{id}/rotate", { params: at(id), body: { overlap_s: overlap } }));
