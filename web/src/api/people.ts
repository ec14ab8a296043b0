/** People: search, one person, what is known of them, and what changes them. */
import { infiniteQueryOptions, keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, ifMatch, type Schemas } from "./client";

/** A profile with traits of any kind. */
export type Person = Omit<Schemas["Profile"], "traits"> & { traits: Record<string, unknown> };
export type PersonSubscription = Schemas["ProfileSubscription"];
export type PersonEvent = Schemas["Event"];
export type Channel = "email" | "sms";

interface PeopleFilters {
  query?: string;
  trait?: string;
  value?: string;
  after?: string;
}

export const peopleQuery = (filters: PeopleFilters) =>
  queryOptions({
    queryKey: ["people", "list", filters],
    queryFn: ({ signal }) => ask(client.GET("/v1/profiles", { params: { query: filters }, signal })),
    placeholderData: keepPreviousData,
  });

export const personQuery = (id: string) =>
  queryOptions({
    queryKey: ["people", id],
    queryFn: async ({ signal }): Promise<Person> =>
      ask(client.GET("/v1/profiles/{id}", { params: { path: { id } }, signal })),
  });

export const personTimelineQuery = (id: string) =>
  infiniteQueryOptions({
    queryKey: ["people", id, "events"],
    queryFn: ({ signal, pageParam }) =>
      ask(
        client.GET("/v1/profiles/{id}/events", {
          params: { path: { id }, query: { after: pageParam || undefined, limit: 25 } },
          signal,
        }),
      ),
    initialPageParam: "",
    getNextPageParam: ({ next }) => next,
  });

export const personListsQuery = (id: string) =>
  queryOptions({
    queryKey: ["people", id, "lists"],
    queryFn: ({ signal }) =>
      ask(client.GET("/v1/profiles/{id}/lists", { params: { path: { id }, query: { limit: 500 } }, signal })),
  });

export const personSubscriptionsQuery = (id: string, channel: Channel) =>
  queryOptions({
    queryKey: ["people", id, "subscriptions", channel],
    queryFn: ({ signal }) =>
      ask(client.GET("/v1/profiles/{id}/subscriptions/{channel}", { params: { path: { id, channel } }, signal })),
  });

export const subscriptionHistoryQuery = (channel: string, address: string) =>
  queryOptions({
    queryKey: ["people", "history", channel, address],
    queryFn: ({ signal }) =>
      ask(client.GET("/v1/subscriptions/history", { params: { query: { channel, address, limit: 50 } }, signal })),
  });

export const tagsQuery = queryOptions({
  queryKey: ["tags"],
  queryFn: ({ signal }) => ask(client.GET("/v1/tags", { signal })),
});

export const addPerson = (body: { email?: string; phone?: string; user_id?: string }) =>
  ask(client.POST("/v1/profiles", { body }));

export const changePerson = (
  id: string,
  body: { email?: string; phone?: string; user_id?: string; traits?: Record<string, unknown> },
  version?: string,
) =>
  ask(
    client.PATCH("/v1/profiles/{id}", {
      params: { path: { id }, header: ifMatch(version) },
      body: body as Schemas["ChangeProfile"],
    }),
  );

export const erasePerson = (id: string) => ask(client.DELETE("/v1/profiles/{id}", { params: { path: { id } } }));

export const exportPerson = (id: string) =>
  ask(client.GET("/v1/profiles/{id}/export", { params: { path: { id } }, parseAs: "text" }));

export const tagPerson = (id: string, tag: string) =>
  ask(client.PUT("/v1/profiles/{id}/tags/{tag}", { params: { path: { id, tag } } }));

export const untagPerson = (id: string, tag: string) =>
  ask(client.DELETE("/v1/profiles/{id}/tags/{tag}", { params: { path: { id, tag } } }));

export const setSubscription = (
  id: string,
  channel: Channel,
  address: string,
  state: Schemas["SubscriptionState"],
  source: string,
) =>
  ask(
    client.PUT("/v1/profiles/{id}/subscriptions/{channel}", {
      params: { path: { id, channel } },
      body: { state, address, source },
    }),
  );
