/** Passkeys: the person's own, and what the browser does with them (Web Authentication). */
import { queryOptions } from "@tanstack/react-query";
import { ask, client, type Schemas } from "./client";

export type Passkey = Schemas["Passkey"];

/** Why this page cannot use passkeys: the public URL of the server, the address of the page, or the browser. */
export type Obstacle = "server" | "address" | "browser";

/** Returns why passkeys do not work here; `origin` is where the server says that they do. */
export function findObstacle(origin: string | null): Obstacle | undefined {
  if (origin === null) return "server";
  if (origin !== window.location.origin) return "address";
  return window.isSecureContext && "PublicKeyCredential" in window ? undefined : "browser";
}

export const passkeysQuery = queryOptions({
  queryKey: ["passkeys"],
  queryFn: ({ signal }) => ask(client.GET("/v1/users/me/passkeys", { params: { query: { limit: 100 } }, signal })),
});

export const renamePasskey = (id: string, body: { name: string }) =>
  ask(client.PATCH("/v1/users/me/passkeys/{id}", { params: { path: { id } }, body }));

export const deletePasskey = (id: string) =>
  ask(client.DELETE("/v1/users/me/passkeys/{id}", { params: { path: { id } } }));

/** Lets the browser make a passkey, and adds it. */
export async function addPasskey({ name }: { name: string }) {
  const options = await ask(client.POST("/v1/users/me/passkeys/challenge"));
  const made = await navigator.credentials.create({
    publicKey: {
      challenge: readBytes(options.challenge),
      rp: options.rp,
      user: { ...options.user, id: readBytes(options.user.id) },
      pubKeyCredParams: options.pubKeyCredParams.map(({ alg }) => ({ alg, type: "public-key" })),
      excludeCredentials: options.excludeCredentials.map(({ id }) => ({ id: readBytes(id), type: "public-key" })),
      authenticatorSelection: { residentKey: "required", requireResidentKey: true, userVerification: "required" },
      attestation: "none",
      timeout: options.timeout,
    },
  });
  const { id, response } = made as PublicKeyCredential & { response: AuthenticatorAttestationResponse };
  const credential = {
    id,
    response: {
      clientDataJSON: writeBytes(response.clientDataJSON),
      attestationObject: writeBytes(response.attestationObject),
    },
  };
  return ask(client.POST("/v1/users/me/passkeys", { body: { credential, name } }));
}

/** Lets the browser use a passkey that the person chooses there. */
async function usePasskey() {
  const options = await ask(client.POST("/v1/passkey-challenges"));
  const used = await navigator.credentials.get({
    publicKey: {
      challenge: readBytes(options.challenge),
      rpId: options.rpId,
      userVerification: "required",
      timeout: options.timeout,
    },
  });
  const { id, response } = used as PublicKeyCredential & { response: AuthenticatorAssertionResponse };
  return {
    id,
    response: {
      clientDataJSON: writeBytes(response.clientDataJSON),
      authenticatorData: writeBytes(response.authenticatorData),
      signature: writeBytes(response.signature),
      userHandle: response.userHandle && writeBytes(response.userHandle),
    },
  };
}

export const signInWithPasskey = async () =>
  ask(client.POST("/v1/sessions", { body: { passkey: await usePasskey() } }));

export const confirmWithPasskey = async () =>
  ask(client.POST("/v1/sessions/current/confirm", { body: { passkey: await usePasskey() } }));

/** Reads base64url. */
const readBytes = (text: string) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));

const writeBytes = (data: ArrayBuffer) =>
  btoa(String.fromCharCode(...new Uint8Array(data)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace(/=+$/, "");
