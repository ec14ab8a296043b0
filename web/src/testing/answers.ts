/** Answers in place of the network, typed by the API, so that a test cannot answer what the server never would. */
import { vi } from "vitest";
import type { Paths } from "@/api/client";
import { PERSON } from "./person";

type Success<Responses> = {
  [Status in keyof Responses & (200 | 201 | 202 | 204)]: Responses[Status] extends {
    content: { "application/json": infer Body };
  }
    ? Body
    : undefined;
}[keyof Responses & (200 | 201 | 202 | 204)];

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
type Body<Path extends keyof Paths, M extends Method> = Paths[Path] extends {
  [Key in Lowercase<M>]: { responses: infer Responses };
}
  ? Success<Responses>
  : never;

/** A request as a test sees it. */
export interface Asked {
  method: string;
  path: string;
  /** The parts of the path that its route names. */
  params: Record<string, string>;
  query: Record<string, string>;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: the test says what it expects in it.
  body: any;
}

/** Bodies by route, such as "GET /v1/webhooks/{id}"; or functions of the request. */
export type Answers = {
  [Path in keyof Paths & string as `GET ${Path}`]?: Given<Body<Path, "GET">>;
} & {
  [Path in keyof Paths & string as `POST ${Path}`]?: Given<Body<Path, "POST">>;
} & {
  [Path in keyof Paths & string as `PUT ${Path}`]?: Given<Body<Path, "PUT">>;
} & {
  [Path in keyof Paths & string as `PATCH ${Path}`]?: Given<Body<Path, "PATCH">>;
} & {
  [Path in keyof Paths & string as `DELETE ${Path}`]?: Given<Body<Path, "DELETE">>;
};

type Given<Body> = Body | Refusal | ((asked: Asked) => Body | Refusal | Promise<Body | Refusal>);

/** A problem document in place of an answer. */
export class Refusal {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail = code,
    readonly extra: Record<string, unknown> = {},
    readonly headers: Record<string, string> = {},
  ) {}
}

export const refusal = (...given: ConstructorParameters<typeof Refusal>) => new Refusal(...given);

/** What a test gets that says nothing else. */
const USUAL: Answers = {
  "GET /v1/me": PERSON,
  "GET /v1/setup": { needs_owner: false, version: "1", passkey_origin: window.location.origin, single_sign_on: false },
  "GET /v1/users/me/passkeys": { data: [] },
  "GET /v1/server": {
    public_url: "https://w.example",
    data_centers: { global: "https://w.example" },
    mail: { configured: false, sender: "waypost@localhost" },
  },
};

/** Answers all requests of a test; returns those that were made. A request without an answer fails. */
export function answerWith(answers: Answers): Asked[] {
  const asked: Asked[] = [];
  const all = { ...USUAL, ...answers } as Record<string, unknown>;
  const fixed = (route: string) => (route.match(/\{/g) ?? []).length;
  const routes = Object.keys(all).sort((one, other) => fixed(one) - fixed(other));
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const request = new Request(input, init);
    const { pathname, searchParams } = new URL(request.url);
    const line = `${request.method} ${pathname}`;
    for (const route of routes) {
      const match = new RegExp(`^${route.replace(/\{(\w+)\}/g, "(?<$1>[^/]+)")}$`).exec(line);
      if (!match) continue;
      const text = await request.text();
      const one: Asked = {
        method: request.method,
        path: pathname,
        params: { ...match.groups },
        query: Object.fromEntries(searchParams),
        headers: request.headers,
        body: !text ? undefined : request.headers.get("content-type")?.includes("json") ? JSON.parse(text) : text,
      };
      asked.push(one);
      const given = all[route];
      return respond(await (typeof given === "function" ? given(one) : given));
    }
    throw new Error(`The test has no answer to ${line}`);
  });
  return asked;
}

function respond(body: unknown): Response {
  if (body instanceof Refusal) {
    const { status, code, detail, extra, headers } = body;
    const problem = { type: "about:blank", title: code, status, code, detail, ...extra };
    return new Response(JSON.stringify(problem), {
      status,
      headers: { "content-type": "application/problem+json", ...headers },
    });
  }
  if (body === undefined) return new Response(null, { status: 204 });
  return new Response(JSON.stringify(body), { status: 200, headers: { "content-type": "application/json" } });
}
