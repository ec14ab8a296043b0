/** A template with an event, as a test, and beside its earlier versions, as a person sees it. */
import { CompletionContext } from "@codemirror/autocomplete";
import { EditorState } from "@codemirror/state";
import { screen, within } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import type { Activity } from "@/api/metrics";
import type { Template } from "@/api/templates";
import { type Answers, refusal } from "@/testing/answers";
import { open } from "@/testing/open";
import { complete } from "./EditorView";
import { seenValues } from "./seen";
import { differences } from "./VersionsPage";

const AT = "2026-11-01T09:00:00Z";
const variant = (content: object, name = "default", weight = 1) => ({ name, weight, content: content as never });
const MAIL: Template = {
  id: "tpl_1",
  name: "Order",
  channel: "email",
  version: 2,
  current_version: 2,
  variants: [variant({ subject: "Your order", html: "<p>Hi</p>\n<p>New</p>", mjml: null, text: "" })],
  created_at: AT,
  updated_at: AT,
};
const FIRST: Template = {
  ...MAIL,
  version: 1,
  variants: [variant({ subject: "Order", html: "<p>Hi</p>\n<p>Old</p>", mjml: null, text: "" })],
};
const SHIPPED: Activity = {
  id: "evt_1",
  type: "track",
  name: "Order Shipped",
  status: null,
  message_id: "m1",
  occurred_at: AT,
  received_at: AT,
  person: { id: "pro_1", first_name: "Ada", last_name: null, user_id: null, email: "ada@example.com", phone: null },
  data: { metric: "Order Shipped", properties: { total: 99.5 } },
};
const METRIC = { id: "met_1", name: "Order Shipped", source: "track", event_type: "track" } as never;
const ANSWERS: Answers = {
  "GET /v1/profiles": { data: [] },
  "GET /v1/senders": { data: [] },
  "GET /v1/events": { data: [] },
  "GET /v1/metrics": { data: [METRIC] },
  "GET /v1/metrics/{id}/activity": { data: [SHIPPED] },
  "GET /v1/templates/{id}": ({ query }) => (query.version === "1" ? FIRST : MAIL),
  "POST /v1/templates/preview": {
    variant: "default",
    content: { subject: "Your order", html: "<p>Hi</p>", text: "Hi" },
    undefined: [],
    sms: null,
  },
};

describe("a template", () => {
  test("is seen with a recent event and its person, and a test of it is sent", async () => {
    const { user, asked } = open("/templates/tpl_1", {
      ...ANSWERS,
      "POST /v1/messages": { id: "msg_1", status: "queued" },
      "GET /v1/messages/{id}": { id: "msg_1", status: "delivered", failure: null } as never,
    });
    await screen.findByRole("option", { name: "Order Shipped" });
    await user.selectOptions(screen.getByLabelText("With an event"), "Order Shipped");
    expect(await screen.findByLabelText("Which one")).toHaveDisplayValue(/Ada$/);
    await expect
      .poll(() => asked.findLast(({ path }) => path === "/v1/templates/preview")?.body)
      .toMatchObject({ event_id: "evt_1", profile_id: "pro_1" });
    const form = within(screen.getByRole("form", { name: "Send a test" }));
    await user.click(form.getByRole("button", { name: "Send the test" }));
    expect(await form.findByText("Enter where the test is sent.")).toBeVisible();
    await user.type(form.getByLabelText("Email address"), "me@example.com");
    await user.click(form.getByRole("button", { name: "Send the test" }));
    expect(await form.findByRole("link", { name: "The test" })).toHaveAttribute("href", "/messages/msg_1");
    expect(await form.findByText("delivered")).toBeVisible();
    expect(asked.find(({ method, path }) => method === "POST" && path === "/v1/messages")?.body).toEqual({
      channel: "email",
      to: "me@example.com",
      test: true,
      variables: {},
      profile_id: "pro_1",
      event: { id: "evt_1", metric: "Order Shipped", time: AT, total: 99.5 },
      subject: "Your order",
      html: "<p>Hi</p>\n<p>New</p>",
    });
  });

  test("says why a test was not sent, and keeps the address", async () => {
    const { user } = open("/templates/tpl_1", {
      ...ANSWERS,
      "POST /v1/messages": refusal(400, "invalid_address", "This is not an email address.", { field: "to" }),
    });
    const form = within(await screen.findByRole("form", { name: "Send a test" }));
    await user.type(form.getByLabelText("Email address"), "me");
    await user.click(form.getByRole("button", { name: "Send the test" }));
    expect(await form.findByText("This is not an email address.")).toBeVisible();
    expect(form.getByLabelText("Email address")).toHaveValue("me");
  });

  test("shows what differs between two versions, line by line", async () => {
    const { user, address } = open("/templates/tpl_1", ANSWERS);
    await user.click(await screen.findByRole("link", { name: "Compare versions" }));
    await expect.poll(address).toBe("/templates/tpl_1/versions");
    const html = within(await screen.findByRole("table", { name: "HTML of the mail" }));
    const rows = html.getAllByRole("row").slice(1);
    expect(rows.map((row) => row.textContent)).toEqual(["11<p>Hi</p>", "2Removed: −<p>Old</p>", "2Added: +<p>New</p>"]);
    expect(screen.getByRole("region", { name: "Subject" })).toHaveTextContent("Added: +Your order");
    expect(screen.queryByRole("region", { name: "Preheader" })).toBeNull();
    expect(screen.getByRole("link", { name: "Open version 1" })).toHaveAttribute(
      "href",
      "/templates/tpl_1?version=%221%22",
    );
    await user.selectOptions(screen.getByLabelText("From"), "The current one");
    expect(await screen.findByText("These versions are the same.")).toBeVisible();
  });
});

test("variants that came and weights that changed differ as well", () => {
  const after = { ...FIRST, variants: [variant({ subject: "Order" }, "default", 2), variant({ text: "Hi" }, "B")] };
  const before = { ...FIRST, variants: [variant({ subject: "Order" })] };
  expect(differences(before, after)).toEqual([
    { variant: "default", field: "weight", before: "1", after: "2" },
    { variant: "B", field: "text", before: "", after: "Hi" },
    { variant: "B", field: "weight", before: "", after: "1" },
  ]);
});

describe("completion", () => {
  const offered = (text: string) => {
    const state = EditorState.create({ doc: text });
    const values = seenValues("event", [
      { total: 5, address: { city: "Bonn" } },
      { total: 9, "Loyalty Tier": "gold" },
    ]);
    return complete(new CompletionContext(state, text.length, true), values)?.options.map(({ label }) => label);
  };

  test("offers what was seen, then what every template has", () => {
    expect(offered("Hi {{ ev")?.slice(0, 4)).toEqual([
      "event.address",
      "event.address.city",
      "event.total",
      "event['Loyalty Tier']",
    ]);
    expect(offered("Hi {{ ev")).toContain("person.first_name");
  });

  test("offers filters behind a bar, and nothing in the text", () => {
    expect(offered("{{ event.total | fl")).toContain("floatformat");
    expect(offered("event.")).toBeUndefined();
  });

  test("shows an example of each value", () => {
    expect(seenValues("person", [{ plan: null }, { plan: "pro", on: "in", in: 1, "it's": 2 }])).toEqual([
      { label: "person.on", detail: "in" },
      { label: "person.plan", detail: "pro" },
      { label: "person['in']", detail: "1" },
    ]);
  });
});
