/** Segments: saved conditions on people, and what a condition finds that is not saved. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, ifMatch, type Schemas } from "./client";

/** A condition of the API: an object whose key says what it tests. */
export type Condition = Record<string, unknown>;
export type Segment = Omit<Schemas["Segment"], "condition"> & { condition: Condition };
export type SegmentPerson = Schemas["SegmentPerson"];
export type Preview = Schemas["SegmentPreview"];

export const segmentsQuery = (after?: string) =>
  queryOptions({
    queryKey: ["segments", "list", { after }],
    queryFn: ({ signal }) => ask(client.GET("/v1/segments", { params: { query: { after } }, signal })),
    placeholderData: keepPreviousData,
  });

/** For choosing one: a workspace has at most 1000. */
export const allSegmentsQuery = queryOptions({
  queryKey: ["segments", "all"],
  queryFn: ({ signal }) => ask(client.GET("/v1/segments", { params: { query: { limit: 1000 } }, signal })),
});

export const segmentQuery = (id: string) =>
  queryOptions({
    queryKey: ["segments", id],
    queryFn: async ({ signal }): Promise<Segment> =>
      ask(client.GET("/v1/segments/{id}", { params: { path: { id } }, signal })),
  });

export const segmentMembersQuery = (id: string, after?: string) =>
  queryOptions({
    queryKey: ["segments", id, "members", { after }],
    queryFn: ({ signal }) =>
      ask(client.GET("/v1/segments/{id}/members", { params: { path: { id }, query: { after } }, signal })),
    placeholderData: keepPreviousData,
  });

/** Who fits a condition now. A request that is no longer wanted is cancelled. */
export const previewQuery = (condition: Condition) =>
  queryOptions({
    queryKey: ["segments", "preview", condition],
    queryFn: ({ signal }) =>
      ask(client.POST("/v1/segments/preview", { body: { condition } as unknown as Schemas["PreviewSegment"], signal })),
    placeholderData: keepPreviousData,
    retry: false,
  });

export interface SegmentFields {
  name: string;
  condition: Condition;
  tracked: boolean;
}

export const createSegment = (body: SegmentFields) =>
  ask(client.POST("/v1/segments", { body: body as unknown as Schemas["CreateSegment"] }));

export const changeSegment = (id: string, body: SegmentFields, version?: string) =>
  ask(
    client.PATCH("/v1/segments/{id}", {
      params: { path: { id }, header: ifMatch(version) },
      body: body as unknown as Schemas["UpdateSegment"],
    }),
  );

export const deleteSegment = (id: string) => ask(client.DELETE("/v1/segments/{id}", { params: { path: { id } } }));

/** Names of events that conditions may count: those that arrived. */
export const metricNamesQuery = queryOptions({
  queryKey: ["metrics", "names"],
  queryFn: ({ signal }) => ask(client.GET("/v1/metrics", { params: { query: { limit: 500 } }, signal })),
  staleTime: 60_000,
});
