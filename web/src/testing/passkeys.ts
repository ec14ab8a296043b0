/** A browser that makes and uses passkeys, which jsdom does not. */
import { afterEach, vi } from "vitest";
import type { Answers } from "./answers";

const bytes = (...values: number[]) => new Uint8Array(values).buffer;

/** What the server is sent when a passkey was used, and when one was made. */
export const USED = {
  id: "cGFzc2tleQ",
  response: { clientDataJSON: "AQ", authenticatorData: "-_8C", signature: "Aw", userHandle: "BA" },
};
export const MADE = { id: "cGFzc2tleQ", response: { clientDataJSON: "AQ", attestationObject: "-_8C" } };

export const CHALLENGE: Answers = {
  "POST /v1/passkey-challenges": { challenge: "-_8B", rpId: "localhost", userVerification: "required", timeout: 1 },
  "POST /v1/users/me/passkeys/challenge": {
    challenge: "-_8B",
    rp: { id: "localhost", name: "Waypost" },
    user: { id: "BA", name: "ada@example.com", displayName: "Ada" },
    pubKeyCredParams: [{ alg: -7, type: "public-key" }],
    excludeCredentials: [{ id: "cGFzc2tleQ", type: "public-key" }],
    authenticatorSelection: { residentKey: "required", requireResidentKey: true, userVerification: "required" },
    attestation: "none",
    timeout: 1,
  },
};

/** Lets the browser of one test have passkeys; returns what is asked of it. */
export function stubPasskeys() {
  const response = { clientDataJSON: bytes(1), authenticatorData: bytes(251, 255, 2), signature: bytes(3) };
  const found = {
    get: vi.fn(async (_: CredentialRequestOptions) => ({
      id: "cGFzc2tleQ",
      response: { ...response, userHandle: bytes(4) },
    })),
    create: vi.fn(async (_: CredentialCreationOptions) => ({
      id: "cGFzc2tleQ",
      response: { clientDataJSON: bytes(1), attestationObject: bytes(251, 255, 2) },
    })),
  };
  vi.stubGlobal("PublicKeyCredential", class {});
  vi.stubGlobal("isSecureContext", true);
  Object.defineProperty(navigator, "credentials", { value: found, configurable: true });
  return found;
}

afterEach(() => {
  Reflect.deleteProperty(globalThis, "PublicKeyCredential");
});
