/** Lists and their members. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, ifMatch, type Schemas } from "./client";

export type List = Schemas["List"];
export type Member = Schemas["Member"];

export const listsQuery = (after?: string) =>
  queryOptions({
    queryKey: ["lists", { after }],
    queryFn: ({ signal }) => ask(client.GET("/v1/lists", { params: { query: { after } }, signal })),
    placeholderData: keepPreviousData,
  });

/** For choosing one: the first 500, which is more than anybody reads through. */
export const someListsQuery = queryOptions({
  queryKey: ["lists", "some"],
  queryFn: ({ signal }) => ask(client.GET("/v1/lists", { params: { query: { limit: 500 } }, signal })),
});

export const listQuery = (id: string) =>
  queryOptions({
    queryKey: ["lists", id],
    queryFn: ({ signal }) => ask(client.GET("/v1/lists/{id}", { params: { path: { id } }, signal })),
  });

export const membersQuery = (id: string, filters: { state?: string; after?: string }) =>
  queryOptions({
    queryKey: ["lists", id, "members", filters],
    queryFn: ({ signal }) =>
      ask(client.GET("/v1/lists/{id}/members", { params: { path: { id }, query: filters }, signal })),
    placeholderData: keepPreviousData,
  });

export const createList = (body: Schemas["CreateList"]) => ask(client.POST("/v1/lists", { body }));

export const changeList = (id: string, body: Schemas["UpdateList"], version: string | undefined) =>
  ask(client.PATCH("/v1/lists/{id}", { params: { path: { id }, header: ifMatch(version) }, body }));

export const deleteList = (id: string) => ask(client.DELETE("/v1/lists/{id}", { params: { path: { id } } }));

export const addMembers = (id: string, people: Schemas["PersonName"][]) =>
  ask(client.POST("/v1/lists/{id}/members", { params: { path: { id } }, body: { people } }));

export const removeMember = (id: string, profile: string, unsubscribe: boolean) =>
  ask(
    client.POST("/v1/lists/{id}/members/remove", {
      params: { path: { id } },
      body: { people: [{ profile_id: profile }], unsubscribe },
    }),
  );
