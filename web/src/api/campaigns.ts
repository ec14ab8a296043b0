/** Campaigns: drafts, what is missing, who would get them, sending, and what came of it. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, ifMatch, type Schemas } from "./client";

export type Campaign = Schemas["Campaign"];
export type Change = Schemas["ChangeCampaign"];
export type Audience = Schemas["Audience"];
export type Estimate = Schemas["CampaignEstimate"];
export type Overview = Schemas["Overview"];
export type Recipient = Schemas["CampaignRecipient"];
export type CampaignChannel = Schemas["CreateCampaign"]["channel"];
export type Schedule = NonNullable<Change["schedule"]>;

/** What an estimate or a launch says is missing. */
export type Missing = Estimate["missing"][number];

export const campaignsQuery = (filters: { state?: string; after?: string }) =>
  queryOptions({
    queryKey: ["campaigns", "list", filters],
    queryFn: ({ signal }) => ask(client.GET("/v1/campaigns", { params: { query: filters }, signal })),
    placeholderData: keepPreviousData,
  });

export const campaignQuery = (id: string) =>
  queryOptions({
    queryKey: ["campaigns", id],
    queryFn: ({ signal }) => ask(client.GET("/v1/campaigns/{id}", { params: { path: { id } }, signal })),
  });

export const overviewQuery = (id: string, occurrence?: string) =>
  queryOptions({
    queryKey: ["campaigns", id, "overview", occurrence],
    queryFn: ({ signal }) =>
      ask(
        client.GET("/v1/campaigns/{id}/overview", {
          params: { path: { id }, query: { occurrence_id: occurrence } },
          signal,
        }),
      ),
  });

export interface RecipientFilters {
  occurrence_id?: string;
  status?: string;
  reason?: string;
  code?: number;
  after?: string;
}

export const recipientsQuery = (id: string, filters: RecipientFilters) =>
  queryOptions({
    queryKey: ["campaigns", id, "recipients", filters],
    // Without `format` it is never the text of a file.
    queryFn: async ({ signal }) =>
      (await ask(
        client.GET("/v1/campaigns/{id}/recipients", { params: { path: { id }, query: filters }, signal }),
      )) as Schemas["CampaignRecipientPage"],
    placeholderData: keepPreviousData,
  });

/** All recipients as a CSV file. */
export const exportRecipients = (id: string, filters: RecipientFilters) =>
  ask(
    client.GET("/v1/campaigns/{id}/recipients", {
      params: { path: { id }, query: { ...filters, format: "csv" } },
      parseAs: "text",
    }),
  ) as Promise<unknown>;

/** Counted anew whenever the campaign has changed. */
export const estimateQuery = (id: string, version: number) =>
  queryOptions({
    queryKey: ["campaigns", id, "estimate", version],
    queryFn: ({ signal }) => ask(client.POST("/v1/campaigns/{id}/estimate", { params: { path: { id } }, signal })),
    retry: false,
    staleTime: 30_000,
  });

export const campaignPreviewQuery = (id: string, version: number, variant?: string) =>
  queryOptions({
    queryKey: ["campaigns", id, "preview", version, variant],
    queryFn: ({ signal }) =>
      ask(
        client.POST("/v1/campaigns/{id}/preview", {
          params: { path: { id } },
          body: variant ? { variant } : {},
          signal,
        }),
      ),
    retry: false,
  });

/** A draft with the same settings. A time that has passed is left out: it could not be launched. */
export function duplicateCampaign(campaign: Campaign, name: string) {
  const { channel, template_id, audience, exclude, throttle, purpose, connection_id, ...rest } = campaign;
  const { variables, validity, conversion, holdout, test, utm, tracking, schedule } = rest;
  const passed = (schedule.kind === "at" || schedule.kind === "local") && Date.parse(schedule.at) < Date.now();
  return ask(
    client.POST("/v1/campaigns", {
      body: {
        name,
        channel: channel as CampaignChannel,
        template_id,
        audience,
        exclude,
        ...(!passed && { schedule }),
        throttle,
        purpose: purpose as "promotional" | "transactional",
        connection_id,
        variables,
        validity,
        conversion,
        holdout,
        test,
        utm,
        tracking,
      },
    }),
  );
}

export const createCampaign = (body: { name: string; channel: CampaignChannel }) =>
  ask(client.POST("/v1/campaigns", { body }));

export const changeCampaign = (id: string, body: Change, version?: string) =>
  ask(client.PATCH("/v1/campaigns/{id}", { params: { path: { id }, header: ifMatch(version) }, body }));

export const deleteCampaign = (id: string) => ask(client.DELETE("/v1/campaigns/{id}", { params: { path: { id } } }));

/** The same key for a repeat of the same click, so that nothing is done twice. */
const once = (id: string) => ({ path: { id }, header: { "Idempotency-Key": crypto.randomUUID() } });

export const launchCampaign = (id: string) => ask(client.POST("/v1/campaigns/{id}/launch", { params: once(id) }));

export const unscheduleCampaign = (id: string) =>
  ask(client.POST("/v1/campaigns/{id}/unschedule", { params: once(id) }));

export const pauseCampaign = (id: string) => ask(client.POST("/v1/campaigns/{id}/pause", { params: once(id) }));

export const resumeCampaign = (id: string) => ask(client.POST("/v1/campaigns/{id}/resume", { params: once(id) }));

export const cancelCampaign = (id: string) => ask(client.POST("/v1/campaigns/{id}/cancel", { params: once(id) }));

export const testCampaign = (id: string, body: Schemas["CampaignTest"]) =>
  ask(client.POST("/v1/campaigns/{id}/test", { params: once(id), body }));

/** Names to choose from: of the connections that may send it, and of the templates. */
export const connectionNamesQuery = queryOptions({
  queryKey: ["connections", "names"],
  queryFn: ({ signal }) => ask(client.GET("/v1/connections", { params: { query: { limit: 500 } }, signal })),
});

export const templateNamesQuery = queryOptions({
  queryKey: ["templates", "names"],
  queryFn: ({ signal }) => ask(client.GET("/v1/templates", { params: { query: { limit: 500 } }, signal })),
});
