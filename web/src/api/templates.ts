/** Templates: contents of messages, their versions, and how the server renders them. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, ifMatch, type Schemas } from "./client";

export type Template = Schemas["Template"];
export type TemplateContent = Schemas["TemplateContent"];
export type TemplatePreview = Schemas["TemplatePreview"];
export type TemplateChannel = "email" | "sms" | "event";

export const templatesQuery = (after?: string) =>
  queryOptions({
    queryKey: ["templates", "list", { after }],
    queryFn: ({ signal }) => ask(client.GET("/v1/templates", { params: { query: { after } }, signal })),
    placeholderData: keepPreviousData,
  });

export const templateQuery = (id: string, version?: number) =>
  queryOptions({
    queryKey: ["templates", id, { version }],
    queryFn: ({ signal }) =>
      ask(client.GET("/v1/templates/{id}", { params: { path: { id }, query: { version } }, signal })),
  });

/** Names to choose from. */
export const templateNamesQuery = queryOptions({
  queryKey: ["templates", "names"],
  queryFn: ({ signal }) => ask(client.GET("/v1/templates", { params: { query: { limit: 500 } }, signal })),
});

/** Whom a preview is for. */
export interface Context {
  profile_id?: string;
  event_id?: string;
}

/** How the server renders a content that is not saved. A request that is no longer wanted is cancelled. */
export const contentPreviewQuery = (channel: string, content: TemplateContent, context: Context) =>
  queryOptions({
    queryKey: ["templates", "preview", channel, content, context],
    queryFn: ({ signal }) =>
      ask(client.POST("/v1/templates/preview", { body: { channel, content, ...context }, signal })),
    placeholderData: keepPreviousData,
    retry: false,
  });

type Variants = Schemas["TemplateVariantInput"][];

export const createTemplate = (name: string, channel: string, variants: Variants) =>
  ask(client.POST("/v1/templates", { body: { name, channel, variants } }));

/** All variants with their whole contents: what is not named is no longer there. */
export const changeTemplate = (id: string, name: string, variants: Variants, version?: string) =>
  ask(
    client.PATCH("/v1/templates/{id}", {
      params: { path: { id }, header: ifMatch(version) },
      body: { name, variants },
    }),
  );

export const deleteTemplate = (id: string) => ask(client.DELETE("/v1/templates/{id}", { params: { path: { id } } }));
