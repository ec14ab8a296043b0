/** Requests that a session must be renewed or confirmed for: the shell asks the person, then they are sent again. */
import type { Middleware } from "openapi-fetch";

/** A passkey is needed where the password alone does not confirm anything, a factor where single sign-on alone does not. */
export type Need = "session" | "confirmation" | "passkey" | "factor";

const OF_CODE: Record<string, Need> = {
  confirmation_required: "confirmation",
  passkey_required: "passkey",
  second_factor_required: "factor",
};

/** Asks the person; resolves to whether the request has a chance now. */
type Ask = (need: Need) => Promise<boolean>;

let ask: Ask | undefined;
/** Several requests that fail at once ask once. */
const asking = new Map<Need, Promise<boolean>>();

export function onNeed(next: Ask): () => void {
  ask = next;
  return () => {
    ask = undefined;
  };
}

/** These say themselves what a refusal means. */
const OWN = /^\/v1\/(setup|sessions|invitations\/accept|password-resets)(\/|$)/;

async function readNeed(request: Request, response: Response): Promise<Need | undefined> {
  if (OWN.test(new URL(request.url).pathname)) return undefined;
  if (response.status === 401) return "session";
  if (response.status !== 403) return undefined;
  const body = await response
    .clone()
    .json()
    .catch(() => null);
  return OF_CODE[body?.code];
}

/** The body of a request can be read once, so each is copied before it is sent. */
const copies = new Map<string, Request>();

export const recovery: Middleware = {
  onRequest({ request, id }) {
    if (ask) copies.set(id, request.clone());
  },
  async onResponse({ request, response, id }) {
    const copy = copies.get(id);
    copies.delete(id);
    if (!ask || !copy) return undefined;
    const need = await readNeed(request, response);
    if (need === undefined) return undefined;
    const asked = asking.get(need) ?? ask(need).finally(() => asking.delete(need));
    asking.set(need, asked);
    return (await asked) ? globalThis.fetch(copy) : undefined;
  },
  onError({ id }) {
    copies.delete(id);
  },
};
