/** Which endpoints, connections, campaigns and ledgers need somebody. */
import type { Schemas } from "@/api/client";
import { t } from "./texts";

export interface Trouble {
  id: string;
  to: string;
  what: string;
  why?: string | null;
  at?: string | null;
}

interface Known {
  endpoints?: readonly Schemas["Webhook"][];
  connections?: readonly Schemas["Connection"][];
  campaigns?: readonly Schemas["Campaign"][];
  ledger?: Schemas["Ledger"];
}

export function findTroubles({ endpoints = [], connections = [], campaigns = [], ledger }: Known): Trouble[] {
  return [
    ...(ledger && !ledger.balanced ? [{ id: "ledger", to: "/webhooks", what: t("ledgerWrong") }] : []),
    ...endpoints.flatMap(ofEndpoint),
    ...connections.flatMap(ofConnection),
    ...campaigns.flatMap(ofCampaign),
  ];
}

function ofEndpoint(endpoint: Schemas["Webhook"]): Trouble[] {
  const { id, url, status, disabled_reason, disabled_at, last_error, last_error_at, counts } = endpoint;
  const to = `/webhooks/${id}`;
  if (status === "disabled") {
    // Whom a person disabled is not in trouble.
    if (disabled_reason === "by_owner") return [];
    return [{ id, to, what: t("endpointDisabled", { url }), why: last_error ?? disabled_reason, at: disabled_at }];
  }
  if (last_error && counts.pending > 0) {
    return [{ id, to, what: t("endpointFailing", { url }), why: last_error, at: last_error_at }];
  }
  return [];
}

function ofConnection(connection: Schemas["Connection"]): Trouble[] {
  const { id, name, status, status_reason, status_at, health, check, last_error, last_error_at } = connection;
  const to = `/connections/${id}`;
  if (status === "paused") {
    return [
      { id, to, what: t("connectionDisabled", { name, status }), why: status_reason ?? last_error, at: status_at },
    ];
  }
  if (status !== "enabled") return [];
  if (health !== "ok") {
    return [{ id, to, what: t("connectionFailing", { name }), why: last_error, at: last_error_at }];
  }
  if (check?.ok === false) {
    const code = check.setup_code ?? check.result;
    return [{ id, to, what: t("connectionCheck", { name, code }), why: check.meaning, at: check.checked_at }];
  }
  return [];
}

function ofCampaign({ id, name, state, reason }: Schemas["Campaign"]): Trouble[] {
  // Without a reason, a person paused it.
  if (state !== "paused" || !reason) return [];
  return [{ id, to: `/campaigns/${id}`, what: t("campaignPaused", { name }), why: reason.replaceAll("_", " ") }];
}
