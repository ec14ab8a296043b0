/** Single sign-on, as an owner sets it up, and what a session of it may do. */
import { screen, within } from "@testing-library/react";
import { expect, test } from "vitest";
import type { SingleSignOn } from "@/api/singleSignOn";
import { refusal } from "@/testing/answers";
import { open } from "@/testing/open";
import { BY_SIGN_ON, PERMISSIONS, PERSON, withPermissions } from "@/testing/person";
import { readDomains } from "./signOnFields";

const REDIRECT = "https://waypost.example/v1/single-sign-on/callback";
const SET: SingleSignOn = {
  issuer: "https://login.acme.example",
  client_id: "waypost",
  label: "Acme",
  domains: ["acme.example", "acme.org"],
  role: "viewer",
  owners: false,
  trusts_mfa: false,
  redirect_uri: REDIRECT,
  updated_at: "2026-11-01T10:00:00Z",
};
const NOTHING = refusal(404, "not_found", "None.", { redirect_uri: REDIRECT });

test("it is set up: the address to copy, a check of the issuer, and what is saved", async () => {
  let right = false;
  const { user, asked } = open("/settings/single-sign-on", {
    "GET /v1/workspace/single-sign-on": NOTHING,
    "POST /v1/workspace/single-sign-on/check": () =>
      right
        ? { ok: true, problem: null, authorization_endpoint: "https://login.acme.example/auth", redirect_uri: REDIRECT }
        : { ok: false, problem: "It answered 404.", authorization_endpoint: null, redirect_uri: REDIRECT },
    "PUT /v1/workspace/single-sign-on": SET,
  });
  expect(await screen.findByRole("region", { name: "Redirect URI" })).toHaveTextContent(REDIRECT);
  await user.type(screen.getByLabelText(/^Issuer/), SET.issuer);
  await user.click(screen.getByRole("button", { name: "Check" }));
  expect(await screen.findByText("It answered 404.")).toBeVisible();
  right = true;
  await user.click(screen.getByRole("button", { name: "Check" }));
  expect(await screen.findByText(/People sign in at https:\/\/login\.acme\.example\/auth/)).toBeVisible();
  expect(asked.find(({ path }) => path.endsWith("/check"))?.body).toEqual({ issuer: SET.issuer });

  await user.type(screen.getByLabelText(/^Client ID/), "waypost");
  await user.click(screen.getByRole("button", { name: "Turn single sign-on on" }));
  expect(await screen.findByText("Copy the secret that this provider gave you for Waypost.")).toBeVisible();
  expect(screen.getByText("Write at least one domain, such as example.com.")).toBeVisible();
  await user.type(screen.getByLabelText(/^Client secret/), "swordfish");
  await user.type(screen.getByLabelText(/^Domains of email addresses/), "acme.example, acme.org");
  await user.selectOptions(screen.getByLabelText(/^People who are not in the workspace yet/), "Join as viewer");
  await user.click(screen.getByLabelText(/^Signing in there counts/));
  await user.click(screen.getByRole("button", { name: "Turn single sign-on on" }));
  expect(await screen.findByText("Saved. The sign-in page offers it.")).toBeVisible();
  expect(asked.find(({ method }) => method === "PUT")?.body).toEqual({
    issuer: SET.issuer,
    client_id: "waypost",
    client_secret: "swordfish",
    label: "",
    domains: ["acme.example", "acme.org"],
    role: "viewer",
    owners: false,
    trusts_mfa: true,
  });
});

test("a change keeps the secret, and another issuer needs one", async () => {
  const { user, asked } = open("/settings/single-sign-on", {
    "GET /v1/workspace/single-sign-on": SET,
    "PUT /v1/workspace/single-sign-on": { ...SET, label: "Acme Ltd" },
  });
  await user.type(await screen.findByLabelText(/^Name of the provider/), " Ltd");
  await user.type(screen.getByLabelText(/^Issuer/), "/other");
  await user.click(screen.getByRole("button", { name: "Save" }));
  expect(await screen.findByText("Copy the secret that this provider gave you for Waypost.")).toBeVisible();
  await user.clear(screen.getByLabelText(/^Issuer/));
  await user.type(screen.getByLabelText(/^Issuer/), SET.issuer);
  await user.click(screen.getByRole("button", { name: "Save" }));
  await expect.poll(() => asked.find(({ method }) => method === "PUT")?.body.label).toBe("Acme Ltd");
  expect(asked.find(({ method }) => method === "PUT")?.body).not.toHaveProperty("client_secret");
});

test("what another owner saves meanwhile is shown, and not overwritten unasked", async () => {
  let now = SET;
  const { user, asked } = open("/settings/single-sign-on", {
    "GET /v1/workspace/single-sign-on": () => now,
    "PUT /v1/workspace/single-sign-on": ({ headers, body }) =>
      headers.get("if-match") === `"${now.updated_at}"`
        ? { ...now, ...body }
        : refusal(412, "precondition_failed", "This was changed."),
  });
  await user.type(await screen.findByLabelText(/^Name of the provider/), " Ltd");
  now = { ...SET, owners: true, updated_at: "2026-11-01T10:30:00Z" };
  await user.click(screen.getByRole("button", { name: "Save" }));
  expect(await screen.findByText("Somebody else has saved this in the meantime")).toBeVisible();
  await user.click(screen.getByRole("button", { name: "Take theirs" }));
  expect(screen.getByLabelText(/^Name of the provider/)).toHaveValue("Acme");
  expect(screen.getByLabelText(/^Owners may sign in this way/)).toBeChecked();
  await user.type(screen.getByLabelText(/^Name of the provider/), " Inc");
  await user.click(screen.getByRole("button", { name: "Save" }));
  expect(await screen.findByText("Saved. The sign-in page offers it.")).toBeVisible();
  expect(asked.findLast(({ method }) => method === "PUT")?.body).toMatchObject({ label: "Acme Inc", owners: true });
});

test("it is turned off after a question", async () => {
  let set = true;
  const { user, asked } = open("/settings/single-sign-on", {
    "GET /v1/workspace/single-sign-on": () => (set ? SET : NOTHING),
    "DELETE /v1/workspace/single-sign-on": () => {
      set = false;
      return undefined;
    },
  });
  await user.click(await screen.findByRole("button", { name: "Turn it off" }));
  const dialog = await screen.findByRole("dialog", { name: "Turn single sign-on off?" });
  await user.click(within(dialog).getByRole("button", { name: "Turn it off" }));
  expect(await screen.findByRole("button", { name: "Turn single sign-on on" })).toBeVisible();
  expect(asked.filter(({ method }) => method === "DELETE")).toHaveLength(1);
});

test("an admin cannot switch on what is for owners, and who may only read changes nothing", async () => {
  const admin = withPermissions(...PERMISSIONS.filter((name) => name !== "workspace.delete"));
  const first = open("/settings/single-sign-on", { "GET /v1/me": admin, "GET /v1/workspace/single-sign-on": SET });
  expect(await screen.findByLabelText(/^Owners may sign in this way/)).toBeDisabled();
  expect(screen.getByLabelText(/^Client ID/)).toBeEnabled();
  first.view.unmount();
  open("/settings/single-sign-on", {
    "GET /v1/me": withPermissions("users.read"),
    "GET /v1/workspace/single-sign-on": SET,
  });
  expect(await screen.findByLabelText(/^Client ID/)).toBeDisabled();
  expect(screen.queryByRole("button", { name: /Save|Check|Turn/ })).not.toBeInTheDocument();
});

test("a session of single sign-on shows nothing of the person's own account", async () => {
  const { asked } = open("/settings", { "GET /v1/me": BY_SIGN_ON });
  expect(await screen.findByRole("heading", { name: "You signed in by single sign-on" })).toBeVisible();
  expect(screen.getByLabelText("Email")).toHaveValue("ada@example.com");
  expect(screen.queryByLabelText("Current password")).not.toBeInTheDocument();
  expect(asked.map(({ path }) => path)).not.toContain("/v1/sessions");
});

test("it proves who it is at the provider, in another tab, and the request is sent again", async () => {
  let proved = false;
  const { user } = open("/settings/single-sign-on", {
    "GET /v1/me": BY_SIGN_ON,
    "GET /v1/workspace/single-sign-on": SET,
    "POST /v1/workspace/single-sign-on/check": () =>
      proved
        ? { ok: true, problem: null, authorization_endpoint: "https://a.example", redirect_uri: REDIRECT }
        : refusal(403, "confirmation_required"),
  });
  await user.click(await screen.findByRole("button", { name: "Check" }));
  const dialog = await screen.findByRole("dialog", { name: "Confirm that it is you" });
  const link = within(dialog).getByRole("link", { name: "Sign in in a new tab" });
  expect(link).toHaveAttribute("href", "/v1/single-sign-on/ws_1?to=%2F&fresh=true");
  expect(link).toHaveAttribute("target", "_blank");
  expect(within(dialog).queryByLabelText("Password")).not.toBeInTheDocument();
  proved = true;
  await user.click(within(dialog).getByRole("button", { name: "I have signed in" }));
  expect(await screen.findByText(/People sign in at https:\/\/a\.example/)).toBeVisible();
});

test("a second factor that single sign-on does not replace is asked for", async () => {
  const user_ = PERSON.user && { ...PERSON.user, totp: true };
  let code = "";
  const { user } = open("/settings/single-sign-on", {
    "GET /v1/me": { ...BY_SIGN_ON, user: user_ },
    "GET /v1/workspace/single-sign-on": () => (code ? SET : refusal(403, "second_factor_required")),
    "POST /v1/sessions/current/confirm": ({ body }) => {
      code = body.totp;
      return { ...BY_SIGN_ON, user: user_ };
    },
  });
  const dialog = await screen.findByRole("dialog", { name: "Confirm that it is you" });
  expect(dialog).toHaveTextContent("Single sign-on alone is not enough for this.");
  await user.type(within(dialog).getByLabelText(/^Code from your authenticator app/), "123 456");
  await user.click(within(dialog).getByRole("button", { name: "Confirm" }));
  expect(await screen.findByDisplayValue(SET.issuer)).toBeVisible();
  expect(code).toBe("123456");
});

test("where a second factor is required and single sign-on is none, every page says what to do", async () => {
  const workspace = PERSON.workspace && { ...PERSON.workspace, mfa: "required" };
  open("/settings", { "GET /v1/me": { ...BY_SIGN_ON, workspace } });
  expect(await screen.findByText(/single sign-on does not count as one here/)).toBeVisible();
});

test.each([
  ["a.org, b.org", ["a.org", "b.org"]],
  [" a.org;\n@b.org ,", ["a.org", "@b.org"]],
  ["", []],
])("the domains %j are %j", (text, domains) => {
  expect(readDomains(text)).toEqual(domains);
});
