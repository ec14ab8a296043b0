/** A text client as its form edits it, and back. */
import type { Schemas } from "@/api/client";
import type { TextClient } from "@/api/textClients";
import { t } from "./textClientTexts";

export const headersOf = (id: string, secret: string) => `X-Client-ID: ${id}\nX-Client-Secret: ${secret}`;

export interface TextClientFields {
  name: string;
  kind: "none" | "webhook" | "klaviyo";
  url: string;
  /** The connection to Klaviyo. */
  callback_connection: string;
  /** The connection that sends the texts; the order of the channel if it is empty. */
  connection_id: string;
  check_links: TextClient["check_links"];
  rate_limit: string;
  default_metric: string;
  max_matches: string;
  /** Those of the workspace, none, or `parameters`. */
  utm: "usual" | "none" | "own";
  parameters: string;
}

export const NEW: TextClientFields = {
  name: "",
  kind: "none",
  url: "",
  callback_connection: "",
  connection_id: "",
  check_links: "now",
  rate_limit: "100",
  default_metric: "Text Message Status",
  max_matches: "1",
  utm: "usual",
  parameters: "",
};

export function readTextClient(found: TextClient): TextClientFields {
  const { name, callback, connection_id, check_links, rate_limit, default_metric, max_matches, utm } = found;
  const parameters = Object.entries(utm ?? {}).map(([key, value]) => `${key}=${value}`);
  return {
    name,
    kind: callback?.kind ?? "none",
    url: callback?.kind === "webhook" ? callback.url : "",
    callback_connection: callback?.kind === "klaviyo" ? callback.connection_id : "",
    connection_id: connection_id ?? "",
    check_links,
    rate_limit: String(rate_limit),
    default_metric,
    max_matches: String(max_matches),
    utm: utm === null ? "usual" : parameters.length > 0 ? "own" : "none",
    parameters: parameters.join("\n"),
  };
}

export function writeTextClient(fields: TextClientFields): Required<Schemas["CreateTextClient"]> {
  const { kind, url, callback_connection, connection_id, utm, parameters, rate_limit, max_matches, ...rest } = fields;
  return {
    ...rest,
    name: rest.name.trim(),
    default_metric: rest.default_metric.trim(),
    callback:
      kind === "webhook"
        ? { kind, url: url.trim() }
        : kind === "klaviyo"
          ? { kind, connection_id: callback_connection }
          : null,
    connection_id: connection_id || null,
    rate_limit: Number(rate_limit),
    max_matches: Number(max_matches),
    utm: utm === "usual" ? null : utm === "none" ? {} : Object.fromEntries(linesOf(parameters).map(pairOf)),
  };
}

const linesOf = (text: string) =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);

function pairOf(line: string): [string, string] {
  const at = line.indexOf("=");
  return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
}

/** What can be said of the fields without asking the server. */
export const CHECKS = {
  name: (name: string) => (name.trim() ? undefined : t("nameNeeded")),
  rate_limit: (rate: string) => (Number(rate) > 0 && Number(rate) <= 100_000 ? undefined : t("rateWrong")),
  max_matches: (most: string) =>
    /^\d{1,2}$/.test(most.trim()) && Number(most) >= 1 && Number(most) <= 20 ? undefined : t("matchesWrong"),
  parameters: (text: string, { utm }: TextClientFields) => {
    const wrong = utm === "own" && linesOf(text).find((line) => line.indexOf("=") < 1);
    return wrong ? t("parameterWrong", { line: wrong }) : undefined;
  },
};

/** Where the API names fields otherwise. */
export const NAMES = {
  "callback.url": "url",
  "callback.connection_id": "callback_connection",
  callback: "callback_connection",
  utm: "parameters",
} as const;
