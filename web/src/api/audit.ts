/** Who changed what. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

export type AuditEntry = Schemas["Change"];

export interface AuditFilters {
  after?: string;
  actor?: string;
  action?: string;
  q?: string;
  since?: string;
  until?: string;
}

export const auditQuery = (filters: AuditFilters) =>
  queryOptions({
    queryKey: ["audit", filters],
    // Without `format` it is never the text of a file.
    queryFn: async ({ signal }) =>
      (await ask(client.GET("/v1/audit", { params: { query: filters }, signal }))) as Schemas["ChangePage"],
    placeholderData: keepPreviousData,
  });

/** All changes that the filters leave, as a file. */
export const exportAudit = (format: "csv" | "ndjson", { after: _, ...filters }: AuditFilters) =>
  ask(client.GET("/v1/audit", { params: { query: { ...filters, format } }, parseAs: "text" })) as Promise<unknown>;
