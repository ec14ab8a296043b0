/** The frame: its pages, what a role sees, and where the focus goes. */
import { screen, within } from "@testing-library/react";
import { expect, test } from "vitest";
import { chooseWorkspace } from "@/api/workspace";
import { refusal } from "@/testing/answers";
import { open } from "@/testing/open";
import { PERSON, withPermissions } from "@/testing/person";

const NAMES = [
  "Home",
  "People",
  "Segments",
  "Templates",
  "Campaigns",
  "Messages",
  "Connections",
  "Webhooks",
  "Events",
  "Settings",
];

const links = async () =>
  within(await screen.findByRole("navigation", { name: "Main" })).getAllByRole("link", { hidden: true });

const ROLES = {
  data: [
    { role: "owner", description: "", permissions: ["people.read", "people.write"] },
    { role: "marketer", description: "", permissions: ["people.read", "people.write"] },
    { role: "viewer", description: "", permissions: ["people.read"] },
  ],
  permissions: [],
};

test("the navigation has all pages, and the title of the tab says where one is", async () => {
  const { user, address } = open("/segments");
  expect((await links()).map((link) => link.textContent)).toEqual(NAMES);
  await user.click(screen.getByRole("link", { name: "Events", hidden: true }));
  expect(await screen.findByRole("heading", { level: 1, name: "Events" })).toHaveFocus();
  expect(address()).toBe("/events");
  expect(document.title).toBe("Events · Shop · Waypost");
});

test("a role sees only the pages that it may open", async () => {
  open("/webhooks", { "GET /v1/me": withPermissions("people.read"), "GET /v1/roles": ROLES });
  expect((await links()).map((link) => link.textContent)).toEqual(["Home", "People", "Segments", "Settings"]);
  expect(screen.getByRole("heading", { level: 1 })).toHaveTextContent("You cannot open this page");
  expect(screen.getByText(/webhooks\.read/)).toBeVisible();
});

test("a page that makes something names the roles that may, and shows no form to the others", async () => {
  open("/segments/new", { "GET /v1/me": withPermissions("people.read"), "GET /v1/roles": ROLES });
  expect(await screen.findByRole("heading", { level: 1 })).toHaveTextContent("You cannot open this page");
  expect(screen.getByText(/people\.write/)).toBeVisible();
  expect(await screen.findByText("Roles that have it: owner, marketer. Yours is viewer.")).toBeVisible();
  expect(screen.queryByRole("form")).toBeNull();
});

test("a page of settings needs its own permission", async () => {
  open("/settings/audit", { "GET /v1/me": withPermissions("settings.read"), "GET /v1/roles": ROLES });
  expect(await screen.findByRole("heading", { level: 1 })).toHaveTextContent("You cannot open this page");
  expect(screen.getByText(/audit\.read/)).toBeVisible();
});

test("the palette finds the pages of settings", async () => {
  const { user, address } = open("/segments", {
    "GET /v1/profiles": { data: [] },
    "GET /v1/sending-rules": {
      timezone: "UTC",
      quiet_hours: [],
      frequency_caps: [],
      version: 0,
      updated_at: null,
      updated_by: null,
    },
  });
  await links();
  await user.keyboard("{Control>}k{/Control}");
  await user.type(await screen.findByRole("combobox"), "quiet");
  await user.click(await screen.findByRole("option", { name: /Sending rules/ }));
  await expect.poll(address).toBe("/settings/sending-rules");
});

test("an address without a page says so", async () => {
  open("/nothing");
  expect(await screen.findByRole("heading", { level: 1, name: "This page does not exist" })).toBeVisible();
});

test("who lacks a second factor that the workspace requires is led to it", async () => {
  const workspace = PERSON.workspace && { ...PERSON.workspace, mfa: "required" };
  const { user, address } = open("/segments", {
    "GET /v1/me": { ...PERSON, workspace },
    "GET /v1/sessions": { data: [] },
  });
  await user.click(await screen.findByRole("link", { name: "Set it up" }));
  expect(address()).toBe("/settings");
});

test("a browser that looked at a workspace that is gone opens another one", async () => {
  chooseWorkspace("ws_gone");
  const { asked } = open("/segments", {
    "GET /v1/me": ({ headers }) => (headers.get("waypost-workspace") ? refusal(404, "no_such_workspace") : PERSON),
  });
  expect(await screen.findByRole("heading", { level: 1, name: "Segments" })).toBeVisible();
  expect(asked.map(({ headers }) => headers.get("waypost-workspace"))).toEqual(["ws_gone", null]);
});
