/** Who the emails of the workspace are from. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, ifMatch, type Schemas } from "./client";

export type Sender = Schemas["SenderDetail"];

const at = (id: string) => ({ path: { id } });

export const sendersQuery = (after?: string) =>
  queryOptions({
    queryKey: ["senders", { after }],
    queryFn: ({ signal }) => ask(client.GET("/v1/senders", { params: { query: { after } }, signal })),
    placeholderData: keepPreviousData,
  });

/** All of them, to choose from: a workspace has at most 100. */
export const allSendersQuery = queryOptions({
  queryKey: ["senders", "all"],
  queryFn: ({ signal }) => ask(client.GET("/v1/senders", { params: { query: { limit: 100 } }, signal })),
});

export const createSender = (body: Schemas["CreateSender"]) => ask(client.POST("/v1/senders", { body }));

export const changeSender = (id: string, body: Schemas["ChangeSender"], version: string | undefined) =>
  ask(client.PATCH("/v1/senders/{id}", { params: { ...at(id), header: ifMatch(version) }, body }));

export const deleteSender = (id: string) => ask(client.DELETE("/v1/senders/{id}", { params: at(id) }));
