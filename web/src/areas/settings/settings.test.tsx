/** The pages of settings, as a person uses them. */
import { screen, within } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import { refusal } from "@/testing/answers";
import { open } from "@/testing/open";
import { PERSON, WORKSPACE, withPermissions } from "@/testing/person";
import { nameBrowser } from "./browserName";

const AT = "2026-11-01T10:00:00Z";
const FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
const session = (id: string, current: boolean) => ({
  id,
  current,
  mfa: false,
  created_at: AT,
  last_used_at: AT,
  expires_at: AT,
  ip: "192.0.2.1",
  user_agent: FIREFOX,
});
const SESSIONS = { "GET /v1/sessions": { data: [session("ses_1", true), session("ses_2", false)] } };
const person = (id: string, name: string, role: string) => ({
  id,
  name,
  email: `${name.toLowerCase()}@example.com`,
  role,
  totp: id === "usr_1",
  passkeys: 0,
  joined_at: AT,
  last_used_at: null,
});
const PEOPLE = { "GET /v1/users": { data: [person("usr_1", "Ada", "owner"), person("usr_2", "Bo", "viewer")] } };
const ROLES = {
  "GET /v1/roles": {
    data: [
      { role: "owner", description: "Does everything.", permissions: ["people.read", "people.write"] },
      { role: "viewer", description: "Sees everything.", permissions: ["people.read"] },
    ],
    permissions: [
      { name: "people.read", description: "See people." },
      { name: "people.write", description: "Change people." },
    ],
  },
};
const key = (id: string, name: string, scopes: ("ingest" | "read" | "manage")[]) => ({
  id,
  name,
  scopes,
  hint: "wpk_…1234",
  created_at: AT,
  expires_at: null,
  last_used_at: null,
  last_used_ip: null,
});

describe("the account", () => {
  test("a second factor is turned on with its first code, and the recovery codes are shown once", async () => {
    let totp = false;
    const { user, asked } = open("/settings", {
      ...SESSIONS,
      "GET /v1/me": () => ({ ...PERSON, user: PERSON.user && { ...PERSON.user, totp, recovery_codes: totp ? 2 : 0 } }),
      "POST /v1/users/me/totp": { secret: "ABCDEFGHIJ", uri: "otpauth://x", qr: "<svg><path/></svg>" },
      "POST /v1/users/me/totp/confirm": ({ body }) => {
        if (body.code !== "123456") return refusal(400, "wrong_code", "The code is wrong.", { field: "code" });
        totp = true;
        return { recovery_codes: ["aaaa-1111", "bbbb-2222"] };
      },
    });
    await user.click(await screen.findByRole("button", { name: "Set it up" }));
    expect(await screen.findByRole("img", { name: /QR code/ })).toHaveAttribute("src", expect.stringMatching(/xmlns/));
    expect(screen.getByText("ABCD EFGH IJ")).toBeVisible();
    await user.type(screen.getByLabelText("Code that the app shows"), "000 000");
    await user.click(screen.getByRole("button", { name: "Turn it on" }));
    expect(await screen.findByText("The code is wrong.")).toBeVisible();
    await user.clear(screen.getByLabelText("Code that the app shows"));
    await user.type(screen.getByLabelText("Code that the app shows"), "123 456");
    await user.click(screen.getByRole("button", { name: "Turn it on" }));
    expect(await screen.findByText("aaaa-1111")).toBeVisible();
    await user.click(screen.getByRole("button", { name: "I saved them" }));
    expect(await screen.findByText("2 recovery codes are left.")).toBeVisible();
    expect(screen.queryByText("aaaa-1111")).not.toBeInTheDocument();
    expect(asked.some(({ path }) => path === "/v1/users/me/totp/confirm")).toBe(true);
  });

  test("other sessions are ended, this one is not", async () => {
    const { user, asked } = open("/settings", { ...SESSIONS, "DELETE /v1/sessions/{id}": undefined });
    const buttons = await screen.findAllByRole("button", { name: "End the session of Firefox 145, Linux" });
    expect(buttons).toHaveLength(1);
    await user.click(buttons[0] as HTMLElement);
    expect(asked.find(({ method }) => method === "DELETE")?.params).toEqual({ id: "ses_2" });
  });

  test("what needs a fresh proof asks for it, and then happens", async () => {
    let confirmed = false;
    const { user } = open("/settings", {
      ...SESSIONS,
      "POST /v1/users/me/totp": () =>
        confirmed ? { secret: "ABCD", uri: "x", qr: "<svg/>" } : refusal(403, "confirmation_required"),
      "POST /v1/sessions/current/confirm": ({ body }) => {
        confirmed = body.password === "right";
        return confirmed
          ? PERSON
          : refusal(400, "wrong_credentials", "The password is not right.", { field: "password" });
      },
    });
    await user.click(await screen.findByRole("button", { name: "Set it up" }));
    const dialog = await screen.findByRole("dialog", { name: "Confirm that it is you" });
    await user.type(within(dialog).getByLabelText("Password"), "wrong");
    await user.click(within(dialog).getByRole("button", { name: "Confirm" }));
    expect(await within(dialog).findByText("The password is not right.")).toBeVisible();
    await user.clear(within(dialog).getByLabelText("Password"));
    await user.type(within(dialog).getByLabelText("Password"), "right");
    await user.click(within(dialog).getByRole("button", { name: "Confirm" }));
    expect(await screen.findByRole("img", { name: /QR code/ })).toBeVisible();
  });

  test("a session that ended is renewed in place, with what was typed", async () => {
    let over = true;
    const { user } = open("/settings", {
      ...SESSIONS,
      "PATCH /v1/users/me": () => (over ? refusal(401, "unauthorized") : undefined),
      "POST /v1/sessions": () => {
        over = false;
        return PERSON;
      },
    });
    await user.type(await screen.findByLabelText("Name"), " L.");
    await user.click(screen.getByRole("button", { name: "Save" }));
    const dialog = await screen.findByRole("dialog", { name: "Sign in again" });
    expect(within(dialog).getByLabelText("Email")).toHaveValue("ada@example.com");
    await user.type(within(dialog).getByLabelText("Password"), "a long password");
    await user.click(within(dialog).getByRole("button", { name: "Sign in" }));
    expect((await screen.findAllByText("Saved."))[0]).toBeInTheDocument();
    expect(screen.getByLabelText("Name")).toHaveValue("Ada L.");
  });
});

describe("people and roles", () => {
  test("somebody is invited, and the link is shown for when mail does not arrive", async () => {
    const { user, asked } = open("/settings/people", {
      ...PEOPLE,
      ...ROLES,
      "GET /v1/invitations": { data: [] },
      "POST /v1/invitations": ({ body }) => ({
        ...body,
        id: "inv_1",
        created_at: AT,
        expires_at: AT,
        url: "https://w.example/invitation#t",
      }),
    });
    await user.click(await screen.findByRole("button", { name: "Invite" }));
    await user.type(screen.getByLabelText("Email"), "cy@example.com");
    await user.selectOptions(screen.getByLabelText("Role"), "owner");
    await user.click(within(screen.getByRole("form")).getByRole("button", { name: "Invite" }));
    expect(await screen.findByText("https://w.example/invitation#t")).toBeVisible();
    expect(asked.find(({ method }) => method === "POST")?.body).toEqual({ email: "cy@example.com", role: "owner" });
  });

  test("roles are changed and people removed, but nobody changes themselves", async () => {
    const { user, asked } = open("/settings/people", {
      ...PEOPLE,
      ...ROLES,
      "GET /v1/invitations": { data: [] },
      "PATCH /v1/users/{id}": ({ body }) => ({ ...person("usr_2", "Bo", "viewer"), ...body }),
      "DELETE /v1/users/{id}": undefined,
    });
    await user.selectOptions(await screen.findByLabelText("Role of Bo"), "owner");
    expect((await screen.findAllByText("Bo is now owner."))[0]).toBeInTheDocument();
    expect(screen.queryByLabelText("Role of Ada")).not.toBeInTheDocument();
    await user.click(screen.getByRole("button", { name: "Remove Bo" }));
    await user.click(await screen.findByRole("button", { name: "Remove" }));
    expect((await screen.findAllByText("Bo is removed."))[0]).toBeInTheDocument();
    expect(asked.find(({ method }) => method === "DELETE")?.params).toEqual({ id: "usr_2" });
  });

  test("a viewer sees people and roles, and no way to change them", async () => {
    open("/settings/people", {
      ...PEOPLE,
      ...ROLES,
      "GET /v1/me": withPermissions("users.read"),
      "GET /v1/invitations": { data: [] },
    });
    expect(await screen.findByText("Bo")).toBeVisible();
    expect(screen.queryByRole("button", { name: /Invite|Remove/ })).not.toBeInTheDocument();
    const tabs = within(screen.getByRole("navigation", { name: "Settings" })).getAllByRole("link");
    expect(tabs.map((tab) => tab.textContent)).toEqual(["Your account", "People and roles", "Single sign-on"]);
    expect(screen.getAllByRole("img", { name: "viewer: yes" })).toHaveLength(1);
  });
});

describe("keys", () => {
  test("a key of single permissions that ends is made, and shown once", async () => {
    const { user, asked } = open("/settings/keys", {
      ...ROLES,
      "GET /v1/keys": { data: [key("key_1", "importer", ["manage"])] },
      "POST /v1/keys": ({ body }) => ({ ...key("key_2", body.name, body.scopes), key: "wpk_secret" }),
    });
    await user.click(await screen.findByRole("button", { name: "New key" }));
    await user.type(screen.getByLabelText("Name"), "reports");
    // What may do the least is chosen, and each choice says what it may do.
    expect(screen.getByRole("radio", { name: "Send events" })).toBeChecked();
    expect(screen.getByRole("radio", { name: "Everything" })).toHaveAccessibleDescription(/reads signing secrets/);
    await user.click(await screen.findByRole("radio", { name: "Only some permissions" }));
    await user.click(screen.getByRole("button", { name: "Create the key" }));
    expect(await screen.findByText("Choose at least one permission.")).toBeVisible();
    await user.click(screen.getByRole("checkbox", { name: "people.read" }));
    await user.selectOptions(screen.getByLabelText("Ends after"), "30 days");
    await user.click(screen.getByRole("button", { name: "Create the key" }));
    expect(await screen.findByText("WAYPOST_API_KEY=wpk_secret")).toBeVisible();
    const sent = asked.find(({ method }) => method === "POST")?.body;
    expect(sent).toMatchObject({ name: "reports", scopes: ["people.read"] });
    expect(Date.parse(sent.expires_at) - Date.now()).toBeGreaterThan(29.9 * 86_400_000);
  });

  test("a key is replaced with an overlap, or deleted after a question", async () => {
    const { user, asked } = open("/settings/keys", {
      ...ROLES,
      "GET /v1/keys": { data: [key("key_1", "importer", ["manage"])] },
      "POST /v1/keys/{id}/rotate": { ...key("key_2", "importer", ["manage"]), key: "wpk_new" },
      "DELETE /v1/keys/{id}": refusal(409, "last_key", "The last key cannot be deleted."),
    });
    await user.click(await screen.findByRole("button", { name: "Replace the key importer" }));
    await user.selectOptions(screen.getByLabelText("The old key is accepted for"), "168 hours");
    await user.click(screen.getByRole("button", { name: "Replace" }));
    expect(await screen.findByText("WAYPOST_API_KEY=wpk_new")).toBeVisible();
    expect(asked.find(({ method }) => method === "POST")?.body).toEqual({ overlap_hours: 168 });
    await user.click(screen.getByRole("button", { name: "Delete the key importer" }));
    await user.click(await screen.findByRole("button", { name: "Delete" }));
    expect((await screen.findAllByText("The last key cannot be deleted."))[0]).toBeInTheDocument();
  });
});

test("who is required to have a second factor is chosen, with who lacks one", async () => {
  const { user, asked } = open("/settings/workspace", {
    ...PEOPLE,
    "GET /v1/workspace": WORKSPACE,
    "PATCH /v1/workspace": ({ body }) => ({ ...WORKSPACE, ...body }),
  });
  await user.click(await screen.findByRole("radio", { name: "Everybody" }));
  expect(await screen.findByText("1 person does not have it yet: Bo")).toBeVisible();
  await user.click(screen.getByRole("button", { name: "Save" }));
  await expect.poll(() => asked.find(({ method }) => method === "PATCH")?.body).toEqual({ mfa: "required" });
});

test("the time zone of the workspace is set, and a name that is none is refused beside its field", async () => {
  const { user, asked } = open("/settings/workspace", {
    ...PEOPLE,
    "GET /v1/workspace": WORKSPACE,
    "PATCH /v1/workspace": ({ body }) =>
      body.time_zone === "Europe/Berlin"
        ? { ...WORKSPACE, ...body }
        : refusal(400, "invalid_time_zone", "It is not a time zone.", { field: "time_zone" }),
  });
  const zone = await screen.findByLabelText("Time zone");
  await user.clear(zone);
  await user.type(zone, "Berlin");
  await user.click(screen.getByRole("button", { name: "Save" }));
  expect(await screen.findByText("It is not a time zone.")).toBeVisible();
  expect(zone).toBeInvalid();
  await user.clear(zone);
  await user.type(zone, "Europe/Berlin");
  await user.click(screen.getByRole("button", { name: "Save" }));
  expect((await screen.findAllByText("Saved."))[0]).toBeInTheDocument();
  expect(asked.findLast(({ method }) => method === "PATCH")?.body).toEqual({ time_zone: "Europe/Berlin" });
});

test.each([
  [FIREFOX, "Firefox 145, Linux"],
  [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.2 Safari/605.1.15",
    "Safari 18, macOS",
  ],
  ["Mozilla/5.0 (Windows NT 10.0) Chrome/131.0 Safari/537.36 Edg/131.0", "Edge 131, Windows"],
  ["Mozilla/5.0 (Linux; Android 15) Chrome/131.0 Mobile Safari/537.36", "Chrome 131, Android"],
  ["something", undefined],
])("%s is %s", (userAgent, name) => {
  expect(nameBrowser(userAgent)).toBe(name);
});
