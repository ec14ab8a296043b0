/** The people of the workspace, their roles, and invitations. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

export type Invitation = Schemas["Invitation"];
export type Person = Schemas["WorkspaceUser"];

export const usersQuery = (after?: string) =>
  queryOptions({
    queryKey: ["users", { after }],
    queryFn: ({ signal }) => ask(client.GET("/v1/users", { params: { query: { after } }, signal })),
    placeholderData: keepPreviousData,
  });

export const rolesQuery = queryOptions({
  queryKey: ["roles"],
  queryFn: ({ signal }) => ask(client.GET("/v1/roles", { signal })),
  staleTime: Number.POSITIVE_INFINITY,
});

export const invitationsQuery = queryOptions({
  queryKey: ["invitations"],
  queryFn: ({ signal }) => ask(client.GET("/v1/invitations", { params: { query: { limit: 100 } }, signal })),
});

export const changeRole = (id: string, role: string) =>
  ask(client.PATCH("/v1/users/{id}", { params: { path: { id } }, body: { role } }));

export const removeUser = (id: string) => ask(client.DELETE("/v1/users/{id}", { params: { path: { id } } }));

export const invite = (body: { email: string; role: string }) => ask(client.POST("/v1/invitations", { body }));

export const withdrawInvitation = (id: string) =>
  ask(client.DELETE("/v1/invitations/{id}", { params: { path: { id } } }));
