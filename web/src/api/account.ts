/** The person's own name, password, second factor and sessions. */
import { queryOptions } from "@tanstack/react-query";
import { ask, client } from "./client";

export const sessionsQuery = queryOptions({
  queryKey: ["sessions"],
  queryFn: ({ signal }) => ask(client.GET("/v1/sessions", { params: { query: { limit: 100 } }, signal })),
});

export const endSession = (id: string) => ask(client.DELETE("/v1/sessions/{id}", { params: { path: { id } } }));

export const rename = (body: { name: string }) => ask(client.PATCH("/v1/users/me", { body }));

export const changePassword = (body: { password: string; new_password: string }) =>
  ask(client.POST("/v1/users/me/password", { body }));

export const offerTotp = () => ask(client.POST("/v1/users/me/totp"));

export const confirmTotp = (code: string) => ask(client.POST("/v1/users/me/totp/confirm", { body: { code } }));

export const removeTotp = () => ask(client.DELETE("/v1/users/me/totp"));

export const renewRecoveryCodes = () => ask(client.POST("/v1/users/me/recovery-codes"));
