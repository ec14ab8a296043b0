/** The values of the form of an endpoint, and how they become a request. */
import type { Schemas } from "@/api/client";
import type { Webhook } from "@/api/webhooks";
import { t } from "./texts";

export interface WebhookValues {
  url: string;
  description: string;
  event_types: string[];
  format: string;
  signature: string;
  filter: string;
  headers: string;
  clearHeaders: boolean;
  rate_limit: string;
  timeout: string;
  concurrency: string;
  owner_email: string;
}

export const EMPTY: WebhookValues = {
  url: "",
  description: "",
  event_types: [],
  format: "standard",
  signature: "v1",
  filter: "",
  headers: "",
  clearHeaders: false,
  rate_limit: "",
  timeout: "5",
  concurrency: "64",
  owner_email: "",
};

/** The headers are shown masked, so they are not put into the form. */
export const valuesOf = (webhook: Webhook): WebhookValues => ({
  ...EMPTY,
  url: webhook.url,
  description: webhook.description,
  event_types: webhook.event_types,
  format: webhook.format,
  signature: webhook.signature,
  filter: webhook.filter ? JSON.stringify(webhook.filter, null, 2) : "",
  rate_limit: webhook.rate_limit === null ? "" : String(webhook.rate_limit),
  timeout: String(webhook.timeout),
  concurrency: String(webhook.concurrency),
  owner_email: webhook.owner_email ?? "",
});

function readFilter(text: string): Record<string, never> | null {
  if (!text.trim()) return null;
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new TypeError();
  return value as Record<string, never>;
}

const HEADER = /^\s*([^:\s]+)\s*:\s?(.*)$/;
const lines = (text: string) => text.split("\n").map((line) => line.trimEnd());

function readHeaders(text: string): Record<string, string> {
  const found = lines(text).flatMap((line) => {
    const [, name, value] = HEADER.exec(line) ?? [];
    return name ? [[name, value ?? ""] as const] : [];
  });
  return Object.fromEntries(found);
}

const aNumber = (text: string) => (text.trim() === "" || Number.isFinite(Number(text)) ? undefined : t("numberWrong"));

export const CHECKS = {
  url: (url: string) => (/^https?:\/\/\S+$/i.test(url.trim()) ? undefined : t("urlWrong")),
  event_types: (types: string[]) => (types.length > 0 ? undefined : t("typesMissing")),
  filter: (text: string) => {
    try {
      readFilter(text);
    } catch {
      return t("filterWrong");
    }
  },
  headers: (text: string) => {
    const wrong = lines(text).findIndex((line) => line !== "" && !HEADER.test(line));
    return wrong < 0 ? undefined : t("headersWrong", { line: wrong + 1 });
  },
  rate_limit: aNumber,
  timeout: aNumber,
  concurrency: aNumber,
};

/** Returns the body of a request; `old` is the endpoint that is changed. */
export function bodyOf(values: WebhookValues, old?: Webhook): Omit<Schemas["CreateWebhook"], "user_id" | "user_name"> {
  const headers = readHeaders(values.headers);
  const named = Object.keys(headers).length > 0;
  return {
    url: values.url.trim(),
    description: values.description,
    event_types: values.event_types,
    format: values.format,
    filter: readFilter(values.filter),
    rate_limit: values.rate_limit.trim() ? Number(values.rate_limit) : null,
    owner_email: values.owner_email.trim() || null,
    ...(values.timeout.trim() && { timeout: Number(values.timeout) }),
    ...(values.concurrency.trim() && { concurrency: Number(values.concurrency) }),
    ...((named || values.clearHeaders) && { headers: values.clearHeaders ? {} : headers }),
    ...(!old && { signature: values.signature }),
  };
}
