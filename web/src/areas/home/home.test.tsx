/** The first page: figures, what needs attention, the first steps. */
import { screen, within } from "@testing-library/react";
import { expect, test } from "vitest";
import type { Schemas } from "@/api/client";
import { addUp } from "@/api/home";
import type { Answers } from "@/testing/answers";
import { open } from "@/testing/open";
import { withPermissions } from "@/testing/person";

const AT = "2026-11-01T10:00:00Z";
const endpoint = (fields: Partial<Schemas["Webhook"]>): Schemas["Webhook"] => ({
  id: "whk_1",
  url: "https://shop.example/hook",
  event_types: ["*"],
  description: "",
  headers: {},
  filter: null,
  rate_limit: null,
  concurrency: 10,
  timeout: 15,
  format: "standard",
  user_id: null,
  user_name: null,
  ordered: false,
  connection_id: null,
  text_client_id: null,
  owner_email: null,
  signature: "v1",
  status: "enabled",
  last_error: null,
  last_error_at: null,
  disabled_reason: null,
  disabled_at: null,
  created_at: AT,
  updated_at: AT,
  counts: { accepted: 0, delivered: 0, pending: 0, dead: 0 },
  ...fields,
});

const EMPTY: Answers = {
  "GET /v1/message-counts": { data: [] },
  "GET /v1/metrics": { data: [] },
  "GET /v1/ledger": { accepted: 0, delivered: 0, pending: 0, dead: 0, balanced: true, endpoints: [] },
  "GET /v1/webhooks": { data: [] },
  "GET /v1/connections": { data: [] },
  "GET /v1/campaigns": { data: [] },
  "GET /v1/events": { data: [] },
  "GET /v1/messages": { data: [] },
};

const count = (status: string, number: number, code: number | null = null, hour = AT) => ({
  hour,
  connection_id: "con_1",
  campaign: null,
  template_id: null,
  status,
  code,
  reason: code === 2009 ? "Undelivered" : null,
  count: number,
});

test("counts of messages are added up by hour, status and code", () => {
  const rows = [
    count("sent", 3),
    count("sent", 4, null, "2026-10-31T11:00:00Z"),
    count("sent", 9, null, "2026-10-31T10:00:00Z"),
    count("failed", 1, 2009),
    count("failed", 2, null),
    count("failed", 2, 2009),
  ];
  const { sent, totals, failures } = addUp(rows, Date.parse("2026-11-01T10:30:00Z"));
  expect(sent).toEqual([4, ...Array(22).fill(0), 3]);
  expect(totals).toEqual({ sent: 16, failed: 5 });
  expect(failures).toEqual([
    { code: 2009, reason: "Undelivered", count: 3 },
    { code: null, reason: null, count: 2 },
  ]);
});

test("failures say what their codes mean", async () => {
  open("/", { ...EMPTY, "GET /v1/message-counts": { data: [count("failed", 2, 2009), count("failed", 1, 7)] } });
  const table = await screen.findByRole("table", { name: "Failed, by reason" });
  expect(within(table).getByRole("row", { name: "2009 Undelivered 2" })).toBeVisible();
  expect(within(table).getByRole("row", { name: "7 A code of the provider 1" })).toBeVisible();
  expect(within(table).getByRole("link", { name: "2" })).toHaveAttribute("href", "/messages?status=failed&code=2009");
});

test("a new workspace is led through the first steps, which can be left and shown again", async () => {
  const { user } = open("/", EMPTY);
  const start = await screen.findByRole("region", { name: "Get started" });
  expect(within(start).getAllByRole("listitem")).toHaveLength(4);
  expect(within(start).getByText("This needs a connection for texts, such as Pinpoint or Twilio.")).toBeVisible();
  await user.click(within(start).getByRole("button", { name: "Leave this" }));
  expect(screen.queryByRole("region", { name: "Get started" })).not.toBeInTheDocument();
  await user.click(screen.getByRole("button", { name: "Show the first steps" }));
  expect(screen.getByRole("region", { name: "Get started" })).toBeVisible();
});

test.each([
  ["email", false],
  ["sms", true],
])("a connection for %s is one to send a text through: %s", async (channel, ready) => {
  const connection = {
    id: "con_1",
    name: "One",
    connector: "x",
    channel,
    status: "enabled",
    check: null,
    health: "ok",
  };
  open("/", { ...EMPTY, "GET /v1/connections": { data: [connection] as never } });
  const start = await screen.findByRole("region", { name: "Get started" });
  expect(within(start).queryByRole("form", { name: "Send a text" }) !== null).toBe(ready);
});

test("an endpoint is added, its secret shown once, and a test event shown as it was sent", async () => {
  let added = false;
  const { user, asked } = open("/", {
    ...EMPTY,
    "GET /v1/webhooks": () => ({ data: added ? [endpoint({})] : [] }),
    "POST /v1/webhooks": () => {
      added = true;
      return { ...endpoint({}), secret: "whsec_x" } as Schemas["WebhookCreated"];
    },
    "POST /v1/webhooks/{id}/test": {
      request: {
        method: "POST",
        url: "https://shop.example/hook",
        headers: { "webhook-id": "msg_1" },
        body: '{"a":1}',
      },
      response: { status: 204, headers: {}, body: "" },
      error: null,
      timings: {},
    },
  });
  const form = await screen.findByRole("form", { name: "Add a webhook endpoint" });
  await user.type(within(form).getByLabelText("URL"), "https://shop.example/hook");
  await user.click(within(form).getByRole("button", { name: "Add" }));
  expect(await screen.findByText("whsec_x")).toBeVisible();
  expect(asked.find(({ method }) => method === "POST")?.body).toMatchObject({ event_types: ["*"] });
  await user.click(await screen.findByRole("button", { name: "Send a test event" }));
  expect(await screen.findByText("The endpoint answered 204.")).toBeVisible();
  expect(screen.getByRole("row", { name: "webhook-id msg_1" })).toBeVisible();
});

test("what needs attention is named, with its reason and the way to it", async () => {
  open("/", {
    ...EMPTY,
    "GET /v1/webhooks": {
      data: [
        endpoint({ status: "disabled", disabled_reason: "failing", last_error: "status_500: it answered 500" }),
        endpoint({ id: "whk_2", status: "disabled", disabled_reason: "by_owner" }),
      ],
    },
    "GET /v1/ledger": { accepted: 9, delivered: 5, pending: 1, dead: 1, balanced: false, endpoints: [] },
  });
  const attention = await screen.findByRole("region", { name: "Needs attention" });
  expect(await within(attention).findByText("The ledger of webhooks does not balance")).toBeVisible();
  expect(within(attention).getAllByRole("listitem")).toHaveLength(2);
  expect(within(attention).getByText("status_500: it answered 500")).toBeVisible();
  expect(
    within(attention).getByRole("link", { name: "Open: The endpoint https://shop.example/hook is disabled" }),
  ).toHaveAttribute("href", "/webhooks/whk_1");
});

test("a role gets only the figures that it may see, and asks for no others", async () => {
  const { asked } = open("/", {
    "GET /v1/me": withPermissions("events.read"),
    "GET /v1/metrics": EMPTY["GET /v1/metrics"],
    "GET /v1/events": EMPTY["GET /v1/events"],
  });
  expect(await screen.findByRole("heading", { level: 2, name: "Latest events" })).toBeVisible();
  expect(await screen.findByText(/Send one with any Segment library/)).toBeVisible();
  expect(screen.queryByText("Messages sent")).not.toBeInTheDocument();
  expect(new Set(asked.map(({ path }) => path))).toEqual(new Set(["/v1/me", "/v1/metrics", "/v1/events"]));
});
