/** The client of the API, typed by its OpenAPI document. The session cookie says who asks. */
import createClient, { type Middleware } from "openapi-fetch";
import { Problem, readProblem } from "./problem";
import { recovery } from "./recovery";
import type { components, paths } from "./schema";
import { currentWorkspace } from "./workspace";

export type Paths = paths;

export type Schemas = components["schemas"];

const chooseWorkspace: Middleware = {
  onRequest({ request }) {
    const workspace = currentWorkspace();
    if (workspace) request.headers.set("Waypost-Workspace", workspace);
    return request;
  },
};

/** Tests run without a page address, where a relative URL means nothing. */
const baseUrl = globalThis.location?.origin ?? "";

export const client = createClient<Paths>({
  baseUrl,
  credentials: "same-origin",
  headers: { accept: "application/json" },
  // Looked up at each call, so that a test can answer in place of the network.
  fetch: (request) => globalThis.fetch(request),
});
client.use(chooseWorkspace, recovery);

/** The header of a change that is made to this version alone; any version if it is undefined. */
export const ifMatch = (version: string | undefined) => (version === undefined ? {} : { "If-Match": `"${version}"` });

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** Returns the body of an answer, or throws a Problem. */
export async function ask<T>(answer: Promise<Answer<T>>): Promise<T> {
  let got: Answer<T>;
  try {
    got = await answer;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "The server cannot be reached. Check the connection, then try again.");
  }
  if (!got.response.ok) throw readProblem(got.response, got.error);
  return got.data as T;
}
