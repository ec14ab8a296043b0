/** The pages of webhooks, as a person uses them. */
import { screen, within } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import type { Webhook } from "@/api/webhooks";
import { refusal } from "@/testing/answers";
import { open } from "@/testing/open";
import { withPermissions } from "@/testing/person";

const AT = "2026-11-01T10:00:00Z";
const WEBHOOK: Webhook = {
  id: "whk_1",
  url: "https://example.com/hooks",
  event_types: ["*"],
  description: "Orders",
  headers: {},
  filter: null,
  rate_limit: null,
  concurrency: 64,
  timeout: 5,
  format: "standard",
  user_id: "1",
  user_name: "Ada",
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
  counts: { accepted: 9, delivered: 6, pending: 1, dead: 2 },
};
const type = (name: string) => ({ type: name, metric: null, description: `About ${name}.`, schema: {}, example: {} });
const CHOICES = {
  "GET /v1/event-types": { data: ["message.sent", "message.failed", "email.opened"].map(type) },
  "GET /v1/webhook-formats": { data: [] },
};
const ONE = { "GET /v1/webhooks/{id}": WEBHOOK, ...CHOICES };
const DISABLED = {
  ...WEBHOOK,
  status: "disabled",
  disabled_reason: "exhausted",
  disabled_at: AT,
  last_error: "status_500: the endpoint answered 500",
  last_error_at: AT,
};

describe("the list", () => {
  test("says what each endpoint gets, and makes everything stand out", async () => {
    const scoped = {
      ...DISABLED,
      id: "whk_2",
      url: "https://two.example.com",
      event_types: ["message.*", "a.b", "c.d"],
    };
    open("/webhooks", { "GET /v1/webhooks": { data: [WEBHOOK, scoped] } });
    const rows = within(await screen.findByRole("table", { name: "Webhook endpoints" })).getAllByRole("row");
    expect(rows[1]).toHaveTextContent("All events");
    expect(rows[2]).toHaveTextContent("all message, a.b and 1 more");
    expect(rows[2]).toHaveTextContent("The receiver answered 500");
    expect(screen.getByRole("link", { name: "New webhook" })).toBeVisible();
  });

  test("those who may only look cannot make one", async () => {
    open("/webhooks", { "GET /v1/me": withPermissions("webhooks.read"), "GET /v1/webhooks": { data: [] } });
    expect(await screen.findByRole("heading", { name: "No endpoint yet" })).toBeVisible();
    expect(screen.queryByRole("link", { name: "New webhook" })).not.toBeInTheDocument();
  });
});

describe("a new endpoint", () => {
  test("is made with a group of types, a filter and headers, and shows its secret", async () => {
    const { user, asked } = open("/webhooks/new", {
      ...CHOICES,
      "POST /v1/webhooks": { ...WEBHOOK, secret: "whsec_abc" },
    });
    await user.click(await screen.findByLabelText(/^URL/));
    await user.paste("https://example.com/hooks");
    await user.click(await screen.findByRole("checkbox", { name: "All of message.*" }));
    await user.click(screen.getByRole("checkbox", { name: "email.opened" }));
    await user.click(screen.getByLabelText("Another type or pattern"));
    await user.paste("event.order_*");
    await user.click(screen.getByRole("button", { name: "Add" }));
    await user.click(screen.getByLabelText("Filter"));
    await user.paste('{"type": "email.opened"}');
    await user.click(screen.getByLabelText("Headers"));
    await user.paste("X-Key: abc");
    await user.click(screen.getByRole("button", { name: "Create the webhook" }));
    expect(await screen.findByText("whsec_abc")).toBeVisible();
    const { body } = asked.find(({ method }) => method === "POST") ?? {};
    expect(body).toMatchObject({
      url: "https://example.com/hooks",
      event_types: ["message.*", "email.opened", "event.order_*"],
      filter: { type: "email.opened" },
      headers: { "X-Key": "abc" },
      signature: "v1",
    });
  });

  test("is not sent without types; what the server refuses stands beside its field", async () => {
    const { user, asked } = open("/webhooks/new", {
      ...CHOICES,
      "POST /v1/webhooks": refusal(400, "url_address", "The address may not be reached.", { field: "url" }),
    });
    await user.click(await screen.findByLabelText(/^URL/));
    await user.paste("http://10.0.0.1/");
    await user.click(screen.getByRole("button", { name: "Create the webhook" }));
    expect(await screen.findByText("Choose at least one event type.")).toBeVisible();
    expect(asked.some(({ method }) => method === "POST")).toBe(false);
    await user.click(screen.getByRole("checkbox", { name: "All events (*)" }));
    await user.click(screen.getByRole("button", { name: "Create the webhook" }));
    expect(await screen.findByText("The address may not be reached.")).toBeVisible();
    expect(screen.getByLabelText(/^URL/)).toHaveValue("http://10.0.0.1/");
  });
});

test("an endpoint is changed; headers that are not typed again are kept", async () => {
  const { user, asked, address } = open("/webhooks/whk_1/edit", {
    ...ONE,
    "GET /v1/webhooks/{id}": { ...WEBHOOK, headers: { "X-Key": "••••" } },
    "PATCH /v1/webhooks/{id}": WEBHOOK,
  });
  const limit = await screen.findByLabelText("Requests per second");
  await user.type(limit, "20");
  await user.click(screen.getByRole("button", { name: "Save" }));
  expect(await screen.findAllByText("The webhook is saved.")).not.toHaveLength(0);
  const { body } = asked.find(({ method }) => method === "PATCH") ?? {};
  expect(body).toMatchObject({ rate_limit: 20 });
  expect(body).not.toHaveProperty("headers");
  expect(address()).toBe("/webhooks/whk_1");
});

describe("one endpoint", () => {
  test("a test event shows the exact request and the answer", async () => {
    const { user, asked } = open("/webhooks/whk_1", {
      ...ONE,
      "POST /v1/webhooks/{id}/test": {
        request: {
          method: "POST",
          url: WEBHOOK.url,
          headers: { "webhook-signature": "v1,abc=" },
          body: '{"type":"email.opened"}',
        },
        response: { status: 500, headers: { server: "nginx" }, body: "oops" },
        error: "status_500: the endpoint answered 500",
        timings: { dns: 1, total: 12.5 },
      },
    });
    await screen.findByRole("option", { name: "email.opened" });
    await user.selectOptions(screen.getByLabelText("Event type"), "email.opened");
    await user.click(screen.getByRole("button", { name: "Send test event" }));
    expect(await screen.findByText("The receiver did not take it.")).toBeVisible();
    expect(screen.getByRole("row", { name: "webhook-signature v1,abc=" })).toBeVisible();
    expect(screen.getByText(/"type": "email.opened"/)).toBeVisible();
    expect(screen.getByText("oops")).toBeVisible();
    expect(screen.getByRole("row", { name: "Done 12.5" })).toBeVisible();
    expect(asked.at(-1)?.body).toEqual({ event_type: "email.opened" });
  });

  test("the secret is shown when asked for, and rotated with an overlap", async () => {
    const { user, asked } = open("/webhooks/whk_1", {
      ...ONE,
      "GET /v1/webhooks/{id}/secret": () => ({
        secret: asked.some(({ method }) => method === "POST") ? "whsec_new" : "whsec_old",
        previous: [],
      }),
      "POST /v1/webhooks/{id}/secret/rotate": { secret: "whsec_new", previous_expires_at: AT },
    });
    await user.click(await screen.findByRole("button", { name: "Show the secret" }));
    expect(await screen.findByText("whsec_old")).toBeVisible();
    await user.selectOptions(screen.getByLabelText("Both secrets are valid for"), "1 hour");
    await user.click(screen.getByRole("button", { name: "Rotate the secret" }));
    expect(await screen.findByText("whsec_new")).toBeVisible();
    expect(asked.find(({ method }) => method === "POST")?.body).toEqual({ overlap: 3600 });
  });

  test("a disabled one says why, and is enabled with a replay", async () => {
    const { user, asked } = open("/webhooks/whk_1", {
      ...ONE,
      "GET /v1/webhooks/{id}": DISABLED,
      "POST /v1/webhooks/{id}/enable": {
        ...WEBHOOK,
        undelivered: { dead: 2, pending: 1, disabled_at: null, replay: null },
        replay_id: "rpl_1",
      },
    });
    expect(await screen.findByText("This webhook is disabled")).toBeVisible();
    expect(screen.getByText(/whole schedule of retries/)).toBeVisible();
    expect(screen.getByText(/2 deliveries were given up, 1 waits/)).toBeVisible();
    await user.click(screen.getByRole("button", { name: "Enable and replay" }));
    expect(await screen.findAllByText(/what it missed is being sent/)).not.toHaveLength(0);
    expect(asked.find(({ method }) => method === "POST")?.body).toEqual({ replay: true });
  });

  test("the ledger is counted again", async () => {
    const { user } = open("/webhooks/whk_1", {
      ...ONE,
      "GET /v1/ledger": {
        ...WEBHOOK.counts,
        balanced: true,
        endpoints: [{ id: "whk_1", ...WEBHOOK.counts, balanced: true }],
      },
    });
    await user.click(await screen.findByRole("button", { name: "Count again" }));
    expect(await screen.findByText(/accepted equals delivered, pending and dead/)).toBeVisible();
  });
});

const DELIVERY = {
  id: "dlv_1",
  webhook_id: "whk_1",
  event_id: "evt_1",
  type: "message.sent",
  state: "pending",
  tries: 1,
  attempt_count: 1,
  next_attempt_at: AT,
  waits_for: null,
  reason: null,
  settled_at: null,
};

test("deliveries are narrowed by state, and lead to their attempts, which can be tried again", async () => {
  const { user, asked } = open("/webhooks/whk_1/deliveries", {
    ...ONE,
    "GET /v1/webhooks/{id}/deliveries": { data: [DELIVERY], next: null },
    "GET /v1/deliveries/{id}": {
      ...DELIVERY,
      attempts: [
        {
          id: "att_1",
          delivery_id: "dlv_1",
          event_id: "evt_1",
          number: 1,
          started_at: AT,
          duration_ms: 5000,
          status: null,
          headers: {},
          body: null,
          error: "timeout: no complete answer in 5 s",
        },
      ],
    },
    "GET /v1/events/{id}": refusal(404, "not_found"),
    "POST /v1/deliveries/{id}/retry": { ...DELIVERY, attempts: [] },
  });
  await user.selectOptions(await screen.findByLabelText("State"), "pending");
  await expect.poll(() => asked.some(({ query }) => query.state === "pending")).toBe(true);
  await user.click(await screen.findByRole("link", { name: "message.sent" }));
  expect(await screen.findByRole("heading", { level: 1, name: "Delivery of message.sent" })).toBeVisible();
  const attempt = await screen.findByRole("region", { name: "Attempt 1" });
  expect(within(attempt).getAllByText(/No complete answer within the timeout/)).not.toHaveLength(0);
  expect(await screen.findByText(/past its retention/)).toBeVisible();
  await user.click(screen.getByRole("button", { name: "Try now" }));
  expect(await screen.findAllByText("It is being tried again.")).not.toHaveLength(0);
});

test("a replay is started with a range, shows its progress, and is cancelled", async () => {
  const { user, asked } = open("/webhooks/whk_1/replays", {
    ...ONE,
    "GET /v1/webhooks/{id}/replays": {
      data: [
        {
          id: "rpl_1",
          webhook_id: "whk_1",
          state: "running",
          since: AT,
          until: AT,
          states: ["undelivered"],
          types: [],
          seen: 20,
          queued: 4,
          progress: 0.5,
          created_at: AT,
          updated_at: AT,
        },
      ],
    },
    "POST /v1/webhooks/{id}/replay": ({ body }) => ({ ...body, id: "rpl_2" }),
    "POST /v1/replays/{id}/cancel": ({ params }) => ({ id: params.id }) as never,
  });
  expect(await screen.findByText("50% · 20 events seen")).toBeVisible();
  await user.type(screen.getByLabelText("From"), "2026-11-01T10:00");
  await user.type(screen.getByLabelText("Only these types"), "message.*");
  await user.click(screen.getByRole("button", { name: "Start the replay" }));
  expect(await screen.findAllByText("The replay has started.")).not.toHaveLength(0);
  const { body } = asked.find(({ path }) => path.endsWith("/replay")) ?? {};
  expect(body).toEqual({
    state: "undelivered",
    since: new Date("2026-11-01T10:00").toISOString(),
    types: ["message.*"],
  });
  await user.click(screen.getByRole("button", { name: "Cancel the replay" }));
  expect(await screen.findAllByText(/The replay is cancelled/)).not.toHaveLength(0);
});
