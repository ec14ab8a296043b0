/** Who changed what. */
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

export type AuditEntry = Schemas["Change"];

export interface AuditFilters {
  after?: string;
  actor?: string;
  action?: string;
  q?: string;
}

export const auditQuery = (filters: AuditFilters) =>
  queryOptions({
    queryKey: ["audit", filters],
    queryFn: ({ signal }) => ask(client.GET("/v1/audit", { params: { query: filters }, signal })),
    placeholderData: keepPreviousData,
  });
