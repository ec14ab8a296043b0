/** Copies a request of the API as a command. The key is a variable: a session has none to copy. */
import { CopyButton } from "./CopyButton";
import { t } from "./texts";

export interface ApiRequest {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** With its ids filled in: `/v1/webhooks/whk_1`. */
  path: string;
  query?: Readonly<Record<string, string | number | boolean | undefined | null>>;
  body?: unknown;
}

/** Quotes a text for a POSIX shell. */
const quote = (text: string) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

export function curl({ method = "GET", path, query = {}, body }: ApiRequest, origin = window.location.origin): string {
  const url = new URL(path, origin);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, String(value));
  }
  const lines = [
    `curl ${method === "GET" ? "" : `-X ${method} `}${quote(url.href)}`,
    '-H "Authorization: Bearer $KEY"',
  ];
  if (body !== undefined) lines.push("-H 'Content-Type: application/json'", `-d ${quote(JSON.stringify(body))}`);
  return lines.join(" \\\n  ");
}

export function CopyAsCurl(request: ApiRequest) {
  return <CopyButton text={() => curl(request)} words={t("copyCurl")} said={t("curlCopied")} />;
}
