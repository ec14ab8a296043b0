/** Single sign-on: the provider of the workspace, and those that a domain of email addresses leads to. */
import { queryOptions } from "@tanstack/react-query";
import { ask, client, ifMatch, type Schemas } from "./client";
import { Problem } from "./problem";

export type SingleSignOn = Schemas["SingleSignOn"];
export type SetSingleSignOn = Schemas["SetSingleSignOn"];
export type SignOnChoice = Schemas["SignOnChoice"];

/** What is set, and the address that the provider must know, which is known before anything is set. */
export interface SignOnSettings {
  found: SingleSignOn | null;
  redirectUri: string;
}

export const singleSignOnQuery = queryOptions({
  queryKey: ["single-sign-on"],
  queryFn: async ({ signal }): Promise<SignOnSettings> => {
    try {
      const found = await ask(client.GET("/v1/workspace/single-sign-on", { signal }));
      return { found, redirectUri: found.redirect_uri };
    } catch (error) {
      if (!(error instanceof Problem && error.status === 404)) throw error;
      return { found: null, redirectUri: String(error.extra.redirect_uri ?? "") };
    }
  },
});

export const setSingleSignOn = (body: SetSingleSignOn, version: string | undefined) =>
  ask(client.PUT("/v1/workspace/single-sign-on", { params: { header: ifMatch(version) }, body }));

export const deleteSingleSignOn = () => ask(client.DELETE("/v1/workspace/single-sign-on"));

export const checkSingleSignOn = (issuer: string) =>
  ask(client.POST("/v1/workspace/single-sign-on/check", { body: { issuer } }));

export const findSignOn = (domain: string) =>
  ask(client.GET("/v1/single-sign-on", { params: { query: { domain } } })).then(({ data }) => data);

/** Returns the address that leads to the provider of a workspace; `fresh` makes the person prove who they are. */
export function signOnAddress(workspace: string, to: string, { fresh = false } = {}): string {
  const query = new URLSearchParams({ to, ...(fresh && { fresh: "true" }) });
  return `/v1/single-sign-on/${encodeURIComponent(workspace)}?${query}`;
}

/** Leaves the interface for the provider, in the same tab; tests put something else here. */
export const departure = { leave: (address: string): void => window.location.assign(address) };
