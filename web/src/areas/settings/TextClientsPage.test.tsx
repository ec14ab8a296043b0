/** The pages of text clients, as a person uses it. */
import { screen } from "@testing-library/react";
import { expect, test } from "vitest";
import type { TextClient } from "@/api/textClients";
import { open } from "@/testing/open";
import { withPermissions } from "@/testing/person";
import { readTextClient, writeTextClient } from "./textClient";

const AT = "2026-11-01T10:00:00Z";
const CLIENT: TextClient = {
  id: "tcl_1",
  name: "Birthday flow",
  client_id: "wtc_1",
  callback: null,
  endpoint_id: null,
  rate_limit: 100,
  check_links: "now",
  utm: null,
  connection_id: null,
  default_metric: "Text Message Status",
  max_matches: 1,
  secrets: 1,
  created_at: AT,
  updated_at: AT,
};

test("a text client is made with a callback, and its headers are shown once", async () => {
  const { user, asked } = open("/settings/texts", {
    "GET /v1/text-clients": { data: [] },
    "GET /v1/connections": { data: [] },
    "POST /v1/text-clients": { ...CLIENT, client_secret: "wts_secret" },
  });
  await user.click((await screen.findAllByRole("button", { name: "New text client" }))[0] as HTMLElement);
  await user.click(screen.getByLabelText("Name"));
  await user.paste("Birthday flow");
  await user.selectOptions(screen.getByLabelText("Callback"), "A URL");
  await user.click(screen.getByLabelText("URL of the callback"));
  await user.paste("https://example.com/texts");
  await user.click(screen.getByRole("button", { name: "Create the client" }));
  expect(await screen.findByText(/X-Client-Secret: wts_secret/)).toBeVisible();
  expect(asked.find(({ method }) => method === "POST")?.body).toEqual({
    name: "Birthday flow",
    check_links: "now",
    rate_limit: 100,
    default_metric: "Text Message Status",
    max_matches: 1,
    connection_id: null,
    utm: null,
    callback: { kind: "webhook", url: "https://example.com/texts" },
  });
});

test("a text client is changed, with the version that was seen", async () => {
  let now = CLIENT;
  const { user, asked } = open("/settings/texts/tcl_1", {
    "GET /v1/text-clients/{id}": () => now,
    "GET /v1/connections": { data: [] },
    "PATCH /v1/text-clients/{id}": ({ body }) => {
      now = { ...CLIENT, ...body, updated_at: "2026-11-01T10:30:00Z" };
      return now;
    },
  });
  expect(await screen.findByRole("heading", { level: 1, name: "Birthday flow" })).toBeVisible();
  const rate = screen.getByLabelText("Texts per second");
  await user.clear(rate);
  await user.type(rate, "fast");
  await user.selectOptions(screen.getByLabelText("Parameters of its links"), "Its own");
  await user.type(screen.getByLabelText(/Parameters, one a line/), "utm_source=flow{Enter}ref");
  await user.click(screen.getByRole("button", { name: "Save" }));
  expect(await screen.findByText("Enter a number above 0, up to 100,000.")).toBeVisible();
  expect(screen.getByText("Write each line as name=value: ref")).toBeVisible();
  await user.clear(rate);
  await user.type(rate, "2.5");
  await user.type(screen.getByLabelText(/Parameters, one a line/), "=a=b");
  await user.clear(screen.getByLabelText("Numbers that one email may lead to"));
  await user.type(screen.getByLabelText("Numbers that one email may lead to"), "3");
  await user.clear(screen.getByLabelText("Metric"));
  await user.type(screen.getByLabelText("Metric"), "Text status");
  await user.click(screen.getByRole("button", { name: "Save" }));
  expect((await screen.findAllByText("The text client is saved."))[0]).toBeInTheDocument();
  const patch = asked.find(({ method }) => method === "PATCH");
  expect(patch?.headers.get("if-match")).toBe(`"${AT}"`);
  expect(patch?.body).toEqual({
    name: "Birthday flow",
    check_links: "now",
    callback: null,
    connection_id: null,
    rate_limit: 2.5,
    max_matches: 3,
    default_metric: "Text status",
    utm: { utm_source: "flow", ref: "a=b" },
  });
});

test("what the form shows of a text client is what it saves", () => {
  const set: TextClient = {
    ...CLIENT,
    callback: { kind: "klaviyo", connection_id: "con_1" },
    connection_id: "con_2",
    utm: {},
  };
  const { name, callback, connection_id, check_links, rate_limit, default_metric, max_matches, utm } = set;
  const fields = { name, callback, connection_id, check_links, rate_limit, default_metric, max_matches, utm };
  expect(writeTextClient(readTextClient(set))).toEqual(fields);
  expect(writeTextClient(readTextClient({ ...set, utm: null })).utm).toBeNull();
});

test("a secret is rotated, and the old one accepted for as long as is chosen", async () => {
  const { user, asked } = open("/settings/texts", {
    "GET /v1/text-clients": { data: [CLIENT] },
    "GET /v1/text-clients/{id}": CLIENT,
    "GET /v1/connections": { data: [] },
    "POST /v1/text-clients/{id}/rotate": { ...CLIENT, client_secret: "wts_new" },
  });
  await user.click(await screen.findByRole("link", { name: "Birthday flow" }));
  await user.click(await screen.findByRole("button", { name: "New secret for Birthday flow" }));
  await user.selectOptions(screen.getByLabelText("The old secret is accepted for"), "no longer");
  await user.click(screen.getByRole("button", { name: "New secret" }));
  expect(await screen.findByText(/X-Client-Secret: wts_new/)).toBeVisible();
  expect(asked.find(({ method }) => method === "POST")?.body).toEqual({ overlap_s: 0 });
});

test("who may not change it sees its settings", async () => {
  open("/settings/texts/tcl_1", {
    "GET /v1/me": withPermissions("settings.read"),
    "GET /v1/text-clients/{id}": CLIENT,
  });
  expect(await screen.findByLabelText("Name")).toBeDisabled();
  expect(screen.queryByRole("button", { name: /Save|Delete|New secret/ })).toBeNull();
});
