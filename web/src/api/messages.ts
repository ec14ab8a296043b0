/** Messages: the log, one with its history, and what can be done with it. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

export type Message = Schemas["Message"];
export type MessageDetail = Schemas["MessageDetail"];

export interface MessageFilters {
  status?: string;
  channel?: string;
  connection_id?: string;
  profile_id?: string;
  to?: string;
  campaign?: string;
  code?: number;
  provider_message_id?: string;
  since?: string;
  until?: string;
  after?: string;
}

const at = (id: string) => ({ path: { id } });

export const messagesQuery = (query: MessageFilters) =>
  queryOptions({
    queryKey: ["messages", query],
    queryFn: ({ signal }) => ask(client.GET("/v1/messages", { params: { query }, signal })),
    placeholderData: keepPreviousData,
  });

export const messageQuery = (id: string) =>
  queryOptions({
    queryKey: ["messages", id],
    queryFn: ({ signal }) => ask(client.GET("/v1/messages/{id}", { params: at(id), signal })),
  });

export const resendMessage = (id: string) => ask(client.POST("/v1/messages/{id}/resend", { params: at(id) }));

export const cancelMessage = (id: string) => ask(client.POST("/v1/messages/{id}/cancel", { params: at(id) }));

export const sendMessage = (body: Schemas["MessageRequest"]) => ask(client.POST("/v1/messages", { body }));
