/** The audit log and the end of a workspace, as a person uses them. */
import { fireEvent, screen, within } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import { open } from "@/testing/open";
import { PERSON, WORKSPACE, withPermissions } from "@/testing/person";

const AT = "2026-11-01T10:00:00Z";
const PEOPLE = {
  "GET /v1/users": {
    data: [
      {
        id: "usr_1",
        name: "Ada",
        email: "ada@example.com",
        role: "owner",
        totp: true,
        passkeys: 0,
        joined_at: AT,
        last_used_at: null,
      },
    ],
  },
};

describe("retention", () => {
  test("is shortened after a question, and its limit is said before it is sent", async () => {
    const { user, asked } = open("/settings/workspace", {
      "GET /v1/workspace": WORKSPACE,
      "PATCH /v1/workspace": ({ body }) => ({ ...WORKSPACE, retention: { ...WORKSPACE.retention, ...body.retention } }),
    });
    const days = await screen.findByLabelText("Days for events and messages");
    const save = screen.getByRole("button", { name: "Save the retention" });
    expect(days).toHaveValue("");
    await user.type(days, "91");
    await user.tab();
    expect(await screen.findByText("Enter a whole number from 1 to 90, or nothing.")).toBeVisible();
    await user.clear(days);
    await user.type(days, "30");
    await user.click(save);
    const dialog = await screen.findByRole("dialog", { name: "Keep less?" });
    expect(asked.some(({ method }) => method === "PATCH")).toBe(false);
    await user.click(within(dialog).getByRole("button", { name: "Keep less" }));
    await expect
      .poll(() => asked.find(({ method }) => method === "PATCH")?.body)
      .toEqual({ retention: { event_days: 30, attempt_days: null } });
    // More time asks nothing.
    await user.clear(days);
    await user.click(save);
    await expect
      .poll(() => asked.findLast(({ method }) => method === "PATCH")?.body)
      .toEqual({ retention: { event_days: null, attempt_days: null } });
  });

  test("is read by who may not change it", async () => {
    open("/settings/workspace", {
      "GET /v1/me": withPermissions("settings.read"),
      "GET /v1/workspace": { ...WORKSPACE, retention: { ...WORKSPACE.retention, attempt_days: 7 } },
    });
    expect(await screen.findByLabelText("Days for attempts of webhooks")).toHaveValue("7");
    expect(screen.getByLabelText("Days for attempts of webhooks")).toHaveAttribute("readonly");
    expect(screen.queryByRole("button", { name: "Save the retention" })).toBeNull();
  });
});

describe("the server", () => {
  const SERVER = {
    public_url: "https://w.example",
    data_centers: { global: "https://w.example", india: "https://in.example" },
    mail: { configured: true, sender: "way@post.example" },
  };
  const button = () => screen.findByRole("button", { name: "Send a test mail to me" });

  test("is shown with the settings that change it, and its mail is tested", async () => {
    let tries = 0;
    const { user, asked } = open("/settings/workspace", {
      "GET /v1/workspace": WORKSPACE,
      "GET /v1/server": SERVER,
      "POST /v1/server/test-mail": () =>
        tries++ === 0
          ? { to: "ada@example.com", accepted: false, error: "recipient: 550 no such user" }
          : { to: "ada@example.com", accepted: true, error: null },
    });
    const section = within(await screen.findByRole("region", { name: "Server" }));
    expect(await section.findByText("https://w.example")).toBeVisible();
    expect(section.getByText("https://in.example")).toBeVisible();
    expect(section.getByText("data_centers")).toBeVisible();
    expect(section.getByText(/mailed from way@post.example/)).toBeVisible();
    await user.click(await button());
    expect(await screen.findByRole("alert")).toHaveTextContent("550 no such user");
    await user.click(await button());
    expect(await screen.findByText(/accepted the mail to ada@example.com/)).toBeVisible();
    expect(asked.filter(({ method }) => method === "POST")).toHaveLength(2);
  });

  test("says which setting is missing for its mail", async () => {
    open("/settings/workspace", { "GET /v1/workspace": WORKSPACE });
    expect(await screen.findByText(/No mail server is set/)).toBeVisible();
    expect(screen.getByText("smtp_url")).toBeVisible();
    expect(screen.queryByRole("button", { name: "Send a test mail to me" })).toBeNull();
  });

  test("its mail is tested by owners and admins alone", async () => {
    open("/settings/workspace", {
      "GET /v1/me": withPermissions("settings.read", "settings.write"),
      "GET /v1/workspace": WORKSPACE,
      "GET /v1/server": SERVER,
    });
    expect(await screen.findByText(/mailed from way@post.example/)).toBeVisible();
    expect(screen.queryByRole("button", { name: "Send a test mail to me" })).toBeNull();
  });
});

describe("the end of a workspace", () => {
  const SHOP = { "GET /v1/workspace": WORKSPACE } as const;
  const TWO = {
    ...PERSON,
    workspaces: [
      { id: "ws_1", name: "Shop", role: "owner" },
      { id: "ws_2", name: "Store", role: "owner" },
    ],
  } as typeof PERSON;
  const CONTENTS = {
    people: 1234,
    events: 100_000,
    messages: 0,
    queued_messages: 1,
    pending_deliveries: 7,
    running_campaigns: 0,
    connections: 1,
    webhooks: 2,
    keys: 3,
    users: 1,
    counted_to: 100_000,
  };

  test("names what is lost, asks for the name, and goes to another workspace", async () => {
    const { user, asked } = open("/settings/workspace", {
      ...PEOPLE,
      ...SHOP,
      "GET /v1/me": TWO,
      "GET /v1/workspace/contents": CONTENTS,
      "DELETE /v1/workspace": undefined,
    });
    await user.click(await screen.findByRole("button", { name: "Delete the workspace…" }));
    const dialog = await screen.findByRole("dialog", { name: "Delete the workspace Shop?" });
    const lines = within(dialog)
      .getAllByRole("listitem")
      .map((line) => line.textContent);
    expect(lines).toEqual([
      "1,234 people",
      "more than 100,000 events",
      "1 connection",
      "2 webhook endpoints",
      "3 API keys",
      "1 role of a user",
      "1 message that waits to be sent",
      "7 deliveries that wait to be sent",
    ]);
    const button = within(dialog).getByRole("button", { name: "Delete" });
    expect(button).toBeDisabled();
    await user.type(within(dialog).getByRole("textbox"), "Shop");
    await user.click(button);
    await expect.poll(() => asked.find(({ method }) => method === "DELETE")?.body).toEqual({ name: "Shop" });
    await expect.poll(() => localStorage.getItem("waypost.workspace")).toBe("ws_2");
  });

  test("is not offered for the only one, and not to who may not", async () => {
    open("/settings/workspace", { ...PEOPLE, ...SHOP });
    expect(await screen.findByRole("button", { name: "Delete the workspace…" })).toBeDisabled();
    expect(screen.getByText(/Create another one before/)).toBeVisible();
  });

  test("a viewer of all their workspaces makes no other one", async () => {
    const viewer = { ...withPermissions("settings.read"), workspaces: [{ ...PERSON.workspaces[0], role: "viewer" }] };
    open("/settings/workspace", { ...PEOPLE, ...SHOP, "GET /v1/me": viewer as typeof PERSON });
    expect(await screen.findByLabelText("Name of the workspace")).toHaveAttribute("readonly");
    expect(screen.queryByRole("heading", { name: "New workspace" })).toBeNull();
  });

  test("is not offered to an admin", async () => {
    open("/settings/workspace", {
      ...PEOPLE,
      ...SHOP,
      "GET /v1/me": withPermissions("settings.read", "settings.write"),
    });
    expect(await screen.findByLabelText("Name of the workspace")).toBeVisible();
    expect(screen.queryByRole("button", { name: "Delete the workspace…" })).toBeNull();
  });
});

test("the audit log shows both sides of a change, and its filters stand in the address", async () => {
  const { user, asked, address } = open("/settings/audit?actor=usr_1", {
    ...PEOPLE,
    "GET /v1/audit": {
      data: [
        {
          id: "aud_1",
          at: AT,
          actor: { kind: "user", id: "usr_1", name: "Ada" },
          action: "update_webhook",
          resource: "/v1/webhooks/whk_1",
          before: { url: "https://old.example" },
          after: { url: "https://new.example" },
          ip: "192.0.2.1",
        },
      ],
    },
  });
  await user.click(await screen.findByRole("button", { name: "update webhook" }));
  const dialog = await screen.findByRole("dialog");
  expect(within(dialog).getByRole("region", { name: "Before" })).toHaveTextContent("https://old.example");
  expect(within(dialog).getByRole("region", { name: "After" })).toHaveTextContent("https://new.example");
  await user.keyboard("{Escape}");
  await user.type(screen.getByLabelText("Search"), "shop");
  expect(await screen.findByRole("row", { name: /update webhook/ })).toBeVisible();
  await expect.poll(address).toBe("/settings/audit?actor=usr_1&q=shop");
  expect(asked.some(({ path, query }) => path === "/v1/audit" && query.q === "shop" && query.actor === "usr_1")).toBe(
    true,
  );
});

test("the audit log of some days is shown, and downloaded as a file", async () => {
  const files: Blob[] = [];
  URL.createObjectURL = (file) => `blob:${files.push(file as Blob)}`;
  URL.revokeObjectURL = () => undefined;
  const { user, asked, address } = open("/settings/audit?q=shop&since=2026-11-02", {
    ...PEOPLE,
    "GET /v1/audit": ({ query }) => (query.format ? ("id,at\n" as never) : { data: [], next: null }),
  });
  expect(await screen.findByLabelText("From")).toHaveValue("2026-11-02");
  fireEvent.change(screen.getByLabelText("Until"), { target: { value: "2026-11-03" } });
  await expect.poll(address).toBe("/settings/audit?q=shop&since=2026-11-02&until=2026-11-03");
  const period = { since: new Date(2026, 10, 2).toISOString(), until: new Date(2026, 10, 4).toISOString() };
  await expect
    .poll(() => asked.some(({ query }) => query.since === period.since && query.until === period.until))
    .toBe(true);
  await user.click(screen.getByRole("button", { name: "Download as CSV" }));
  await expect.poll(() => files.length).toBe(1);
  expect(files[0]?.type).toBe("text/csv");
  expect(asked.at(-1)?.query).toEqual({ ...period, q: "shop", format: "csv" });
  await user.click(screen.getByRole("button", { name: "Download as JSON lines" }));
  await expect.poll(() => asked.at(-1)?.query.format).toBe("ndjson");
});
