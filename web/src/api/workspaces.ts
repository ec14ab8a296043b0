/** The workspace, its settings, and other workspaces. */
import { queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

export type MfaRule = Schemas["MfaRule"];
export type Workspace = Schemas["Workspace"];
export type WorkspaceRetention = Schemas["WorkspaceRetention"];
export type WorkspaceContents = Schemas["WorkspaceContents"];

export const workspaceQuery = queryOptions({
  queryKey: ["workspace"],
  queryFn: ({ signal }) => ask(client.GET("/v1/workspace", { signal })),
});

/** What is left out stays. */
export const changeWorkspace = (body: Schemas["ChangeWorkspace"]) => ask(client.PATCH("/v1/workspace", { body }));

/** How much would be deleted with it. */
export const contentsQuery = queryOptions({
  queryKey: ["workspace", "contents"],
  queryFn: ({ signal }) => ask(client.GET("/v1/workspace/contents", { signal })),
  staleTime: 0,
});

export const deleteWorkspace = (body: { name: string }) => ask(client.DELETE("/v1/workspace", { body }));

export const createWorkspace = (body: { name: string }) => ask(client.POST("/v1/workspaces", { body }));
