/** Signing in, as a person does it. */
import { cleanup, screen } from "@testing-library/react";
import { expect, test } from "vitest";
import { refusal } from "@/testing/answers";
import { open } from "@/testing/open";
import { CHALLENGE, stubPasskeys, USED } from "@/testing/passkeys";
import { PERSON } from "@/testing/person";
import { ownPath } from "./arrive";

const SIGNED_OUT = {
  "GET /v1/me": refusal(401, "unauthorized"),
  "GET /v1/setup": { needs_owner: false, version: "1", passkey_origin: window.location.origin },
};

async function signIn(user: ReturnType<typeof open>["user"]) {
  await user.type(await screen.findByLabelText("Email"), "ada@example.com");
  await user.type(screen.getByLabelText(/password/i), "a long password");
  await user.click(screen.getByRole("button", { name: "Sign in" }));
}

test("the page that was asked for opens after signing in", async () => {
  const { user, address, asked } = open("/webhooks?state=failed", { ...SIGNED_OUT, "POST /v1/sessions": PERSON });
  await signIn(user);
  expect(await screen.findByRole("heading", { level: 1, name: "Webhooks" })).toHaveFocus();
  expect(address()).toBe("/webhooks?state=failed");
  expect(asked.find(({ method }) => method === "POST")?.body).toEqual({
    email: "ada@example.com",
    password: "a long password",
  });
});

test("a wrong password is said, and what was typed stays", async () => {
  const { user } = open("/sign-in", { ...SIGNED_OUT, "POST /v1/sessions": refusal(401, "wrong_credentials") });
  await signIn(user);
  expect(await screen.findByRole("alert")).toHaveTextContent("The email address or the password is wrong.");
  expect(screen.getByLabelText("Email")).toHaveValue("ada@example.com");
});

test("too many attempts say when to try again", async () => {
  const limited = refusal(429, "rate_limited", "Slow down.", {}, { "retry-after": "30" });
  const { user } = open("/sign-in", { ...SIGNED_OUT, "POST /v1/sessions": limited });
  await signIn(user);
  expect(await screen.findByRole("alert")).toHaveTextContent("Try again in 30 seconds.");
});

test("a second factor is asked for, and a code with a space is one without", async () => {
  const { user, asked } = open("/sign-in", {
    ...SIGNED_OUT,
    "POST /v1/sessions": ({ body }) => (body.totp ? PERSON : refusal(401, "mfa_required")),
    "GET /v1/me": PERSON,
  });
  await signIn(user);
  await user.type(await screen.findByLabelText("Code"), "123 456");
  await user.click(screen.getByRole("button", { name: "Continue" }));
  expect(await screen.findByRole("heading", { level: 1, name: "Home" })).toBeVisible();
  expect(asked.at(-1)?.body ?? asked.filter(({ method }) => method === "POST").at(-1)?.body).toMatchObject({
    totp: "123456",
  });
});

test("a passkey signs in without an address, and what the server gave reaches the browser", async () => {
  const browser = stubPasskeys();
  const { user, asked } = open("/sign-in", { ...SIGNED_OUT, ...CHALLENGE, "POST /v1/sessions": PERSON });
  await user.click(await screen.findByRole("button", { name: "Sign in with a passkey" }));
  expect(await screen.findByRole("heading", { level: 1, name: "Home" })).toBeVisible();
  const options = browser.get.mock.calls[0]?.[0]?.publicKey;
  expect(options).toMatchObject({ rpId: "localhost", userVerification: "required" });
  expect(options?.challenge).toEqual(new Uint8Array([251, 255, 1]));
  expect(asked.find(({ path }) => path === "/v1/sessions")?.body).toEqual({ passkey: USED });
});

test("a passkey that is refused, and one that nobody used, are said", async () => {
  const browser = stubPasskeys();
  const { user } = open("/sign-in", {
    ...SIGNED_OUT,
    ...CHALLENGE,
    "POST /v1/sessions": refusal(401, "wrong_passkey"),
  });
  await user.click(await screen.findByRole("button", { name: "Sign in with a passkey" }));
  expect(await screen.findByRole("alert")).toHaveTextContent("This passkey was not accepted.");
  browser.get.mockRejectedValueOnce(new DOMException("The operation timed out.", "NotAllowedError"));
  await user.click(screen.getByRole("button", { name: "Sign in with a passkey" }));
  expect(await screen.findByText(/No passkey was used/)).toBeVisible();
});

test.each([
  ["https://waypost.example", /do not work at this address/],
  [null, undefined],
])("where passkeys work at %j, there is no button for them", async (passkey_origin, said) => {
  stubPasskeys();
  open("/sign-in", { ...SIGNED_OUT, "GET /v1/setup": { needs_owner: false, version: "1", passkey_origin } });
  await screen.findByLabelText("Email");
  if (said) {
    expect(await screen.findByText(said)).toBeVisible();
    expect(screen.getByRole("link", { name: "https://waypost.example" })).toHaveAttribute("href", passkey_origin);
  }
  expect(screen.queryByRole("button", { name: /passkey/ })).not.toBeInTheDocument();
});

test("an invitation is accepted by a new person, and by one who is signed in", async () => {
  window.location.hash = "#invited";
  const { user, asked } = open("/invitation", { ...SIGNED_OUT, "POST /v1/invitations/accept": PERSON });
  await user.type(await screen.findByLabelText("Password"), "a long password");
  await user.click(screen.getByRole("button", { name: "Join" }));
  await expect
    .poll(() => asked.find(({ method }) => method === "POST")?.body)
    .toEqual({ token: "invited", name: "", password: "a long password" });
  cleanup();
  const second = open("/invitation", { "POST /v1/invitations/accept": PERSON });
  expect(await screen.findByText(/signed in as ada@example\.com/)).toBeVisible();
  await second.user.click(screen.getByRole("button", { name: "Join" }));
  await expect.poll(() => second.asked.find(({ method }) => method === "POST")?.body).toEqual({ token: "invited" });
});

test("a new server asks for its first owner", async () => {
  const { address } = open("/", {
    ...SIGNED_OUT,
    "GET /v1/setup": { needs_owner: true, version: "1", passkey_origin: window.location.origin },
  });
  expect(await screen.findByLabelText(/One-time code/)).toBeVisible();
  expect(address()).toBe("/setup");
});

test.each([
  ["/people?x=1#y", "/people?x=1#y"],
  [undefined, "/"],
  ["https://evil.example/", "/"],
  ["//evil.example/", "/"],
  ["/\\evil.example/", "/"],
  ["/\t/evil.example", "/"],
  ["javascript:alert(1)", "/"],
  ["/..//evil.example/", "/"],
])("signing in leads from %j to %j", (to, path) => {
  expect(ownPath(to, "https://waypost.example")).toBe(path);
});
