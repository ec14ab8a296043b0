/** Imports: a file of people, checked or imported. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

export type Import = Schemas["Import"];

export const importsQuery = (after?: string) =>
  queryOptions({
    queryKey: ["imports", { after }],
    queryFn: ({ signal }) => ask(client.GET("/v1/imports", { params: { query: { after } }, signal })),
    placeholderData: keepPreviousData,
  });

export const importQuery = (id: string) =>
  queryOptions({
    queryKey: ["imports", id],
    queryFn: ({ signal }) => ask(client.GET("/v1/imports/{id}", { params: { path: { id } }, signal })),
    /** A running one is looked at every second. */
    refetchInterval: (query) => (query.state.data?.state === "running" ? 1000 : false),
  });

export interface ImportChoice {
  list: string;
  source: string;
  confirmed: boolean;
  dryRun: boolean;
  /** What a column becomes; null ignores it. */
  map?: Record<string, string | null>;
}

/** Sends the file as it is: the server finds out its encoding and delimiter. */
export const startImport = (file: File, { list, source, confirmed, dryRun, map }: ImportChoice) =>
  ask(
    client.POST("/v1/imports", {
      params: {
        query: {
          dry_run: dryRun,
          ...(list && { list }),
          ...(source && { source }),
          ...(confirmed && { confirmed }),
          ...(map && { map: JSON.stringify(map) }),
        },
      },
      headers: { "content-type": isJson(file) ? "application/x-ndjson" : "text/csv" },
      body: file as unknown as string,
      bodySerializer: (body) => body as unknown as BodyInit,
    }),
  );

const isJson = ({ name, type }: File) => /\.(ndjson|jsonl|json)(\.gz)?$/i.test(name) || /json/.test(type);

export const cancelImport = (id: string) => ask(client.POST("/v1/imports/{id}/cancel", { params: { path: { id } } }));

/** The rejected rows as a CSV file. */
export const rejectedRows = (id: string) =>
  ask(client.GET("/v1/imports/{id}/errors", { params: { path: { id } }, parseAs: "text" })) as Promise<unknown>;
