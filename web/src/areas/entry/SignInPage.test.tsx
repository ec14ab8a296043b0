/** Signing in, as a person does it. */
import { cleanup, screen } from "@testing-library/react";
import { expect, test, vi } from "vitest";
import { departure } from "@/api/singleSignOn";
import { refusal } from "@/testing/answers";
import { open } from "@/testing/open";
import { CHALLENGE, stubPasskeys, USED } from "@/testing/passkeys";
import { PERSON } from "@/testing/person";
import { ownPath } from "./arrive";

const SIGNED_OUT = {
  "GET /v1/me": refusal(401, "unauthorized"),
  "GET /v1/setup": { needs_owner: false, version: "1", passkey_origin: window.location.origin, single_sign_on: false },
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
  open("/sign-in", {
    ...SIGNED_OUT,
    "GET /v1/setup": { needs_owner: false, version: "1", passkey_origin, single_sign_on: false },
  });
  await screen.findByLabelText("Email");
  if (said) {
    expect(await screen.findByText(said)).toBeVisible();
    expect(screen.getByRole("link", { name: "https://waypost.example" })).toHaveAttribute("href", passkey_origin);
  }
  expect(screen.queryByRole("button", { name: /passkey/ })).not.toBeInTheDocument();
});

const WITH_SIGN_ON = {
  ...SIGNED_OUT,
  "GET /v1/setup": { needs_owner: false, version: "1", passkey_origin: null, single_sign_on: true },
} as const;
const ACME = { id: "ws_1", label: "Acme", host: "login.acme.example" };

async function askForSignOn(user: ReturnType<typeof open>["user"], email: string) {
  await user.click(await screen.findByRole("button", { name: "Single sign-on" }));
  await user.type(await screen.findByLabelText("Work email"), email);
  await user.click(screen.getByRole("button", { name: "Continue" }));
}

test("single sign-on asks for the address, sends its domain alone, and leads to the provider", async () => {
  const leave = vi.spyOn(departure, "leave").mockImplementation(() => undefined);
  const { user, asked } = open("/sign-in?to=%2Fwebhooks%3Fstate%3Dfailed", {
    ...WITH_SIGN_ON,
    "GET /v1/single-sign-on": { data: [ACME] },
  });
  await askForSignOn(user, "Ada@Example.com");
  await expect.poll(() => leave.mock.calls).toEqual([["/v1/single-sign-on/ws_1?to=%2Fwebhooks%3Fstate%3Dfailed"]]);
  expect(asked.filter(({ path }) => path === "/v1/single-sign-on").map(({ query }) => query)).toEqual([
    { domain: "example.com" },
  ]);
});

test("several workspaces of one domain are a choice, and none is said", async () => {
  const leave = vi.spyOn(departure, "leave").mockImplementation(() => undefined);
  const { user } = open("/sign-in?to=https%3A%2F%2Fevil.example", {
    ...WITH_SIGN_ON,
    "GET /v1/single-sign-on": ({ query }) => ({
      data: query.domain === "example.com" ? [ACME, { ...ACME, id: "ws_2", label: "Acme shop" }] : [],
    }),
  });
  await askForSignOn(user, "ada@example.org");
  expect(await screen.findByRole("alert")).toHaveTextContent("No workspace here has single sign-on for example.org.");
  await user.clear(screen.getByLabelText("Work email"));
  await user.type(screen.getByLabelText("Work email"), "ada@example.com");
  await user.click(screen.getByRole("button", { name: "Continue" }));
  expect(await screen.findByRole("link", { name: "Continue with Acme shop (login.acme.example)" })).toHaveAttribute(
    "href",
    "/v1/single-sign-on/ws_2?to=%2F",
  );
  expect(leave).not.toHaveBeenCalled();
  await user.click(screen.getByRole("button", { name: "Sign in another way" }));
  expect(await screen.findByLabelText("Password")).toBeVisible();
});

test("what is no address is not sent", async () => {
  const { user } = open("/sign-in", WITH_SIGN_ON);
  await askForSignOn(user, "@");
  expect(await screen.findByText(/Write the whole address/)).toBeVisible();
});

test("without a provider there is no button for it", async () => {
  open("/sign-in", SIGNED_OUT);
  await screen.findByLabelText("Email");
  expect(screen.queryByRole("button", { name: "Single sign-on" })).not.toBeInTheDocument();
});

test.each([
  ["sign_on_state", /began in another browser/],
  ["sign_on_not_invited", /Ask an admin of it for an invitation/],
  ["toString", /Single sign-on did not work/],
  ["<b>x</b>", /Single sign-on did not work/],
])("the refusal %j is said in words", async (code, words) => {
  open(`/sign-in?problem=${encodeURIComponent(code)}`, SIGNED_OUT);
  expect(await screen.findByRole("alert")).toHaveTextContent(words);
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
    "GET /v1/setup": { needs_owner: true, version: "1", passkey_origin: window.location.origin, single_sign_on: false },
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
