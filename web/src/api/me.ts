/** Who is signed in, and what they may do. */
import { queryOptions, useQuery } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";
import { Problem } from "./problem";
import { chooseWorkspace, currentWorkspace } from "./workspace";

export type Me = Schemas["Me"];

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: async ({ signal }) => {
    try {
      return await ask(client.GET("/v1/me", { signal }));
    } catch (error) {
      // The workspace that this browser looked at is gone, or the person has no access to it any more.
      if (!(error instanceof Problem && error.status === 404 && currentWorkspace())) throw error;
      chooseWorkspace(null);
      return await ask(client.GET("/v1/me", { signal }));
    }
  },
  staleTime: 60_000,
});

export const setupQuery = queryOptions({
  queryKey: ["setup"],
  queryFn: ({ signal }) => ask(client.GET("/v1/setup", { signal })),
  staleTime: 60_000,
});

export function useMe() {
  return useQuery(meQuery).data;
}

/** Returns a function that says whether the person has a permission such as `webhooks.write`. */
export function useMay(): (permission: string) => boolean {
  const permissions = useMe()?.permissions ?? [];
  return (permission) => permissions.includes(permission);
}

export interface Credentials {
  email: string;
  password: string;
  totp?: string;
}

export const signIn = (body: Credentials) => ask(client.POST("/v1/sessions", { body }));

export const signOut = () => ask(client.DELETE("/v1/sessions/{id}", { params: { path: { id: "current" } } }));

export const makeOwner = (body: { code: string; email: string; password: string; name?: string; workspace?: string }) =>
  ask(client.POST("/v1/setup", { body }));

export const acceptInvitation = (body: { token: string; name?: string; password?: string }) =>
  ask(client.POST("/v1/invitations/accept", { body }));

export const askForReset = (body: { email: string }) => ask(client.POST("/v1/password-resets", { body }));

export const resetPassword = (body: { token: string; password: string }) =>
  ask(client.POST("/v1/password-resets/confirm", { body }));

export const confirmSession = (body: { password?: string; totp?: string }) =>
  ask(client.POST("/v1/sessions/current/confirm", { body }));
