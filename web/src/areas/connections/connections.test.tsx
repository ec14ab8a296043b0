/** The pages of connections, as a person uses them. */
import { screen, within } from "@testing-library/react";
import { expect, test } from "vitest";
import type { Connection, Connector } from "@/api/connections";
import { refusal } from "@/testing/answers";
import { open } from "@/testing/open";

const AT = "2026-11-01T10:00:00Z";
const field = (name: string, label: string, more: Partial<Connector["fields"][number]> = {}) => ({
  name,
  label,
  kind: "text",
  secret: false,
  required: true,
  pattern: "",
  choices: [],
  default: null,
  help: "",
  ...more,
});
const PINPOINT: Connector = {
  name: "aws-pinpoint",
  label: "AWS Pinpoint",
  description: "SMS through an Amazon Pinpoint project.",
  channel: "sms",
  own: false,
  fields: [
    field("region", "Region", { help: "Such as us-east-1." }),
    field("project_id", "Project ID", { pattern: "[0-9a-f]{4}" }),
    field("secret_key", "Secret key", { secret: true }),
    field("message_type", "Message type", {
      kind: "choice",
      choices: ["TRANSACTIONAL", "PROMOTIONAL"],
      default: "TRANSACTIONAL",
      required: false,
    }),
  ],
  regions: ["us-east-1"],
  batch_size: 100,
  per_second: 4000,
  concurrency: 16,
  validity: 1,
  idempotent: false,
  callback: null,
  tracker_urls: { global: "https://w.example.com/tracking", in: "https://in.example.com/tracking" },
  created_at: null,
  updated_at: null,
};
const CONNECTORS = {
  "GET /v1/connectors": {
    data: [PINPOINT, { ...PINPOINT, name: "http", label: "HTTP gateway", fields: [], tracker_urls: {} }],
  },
};
const CONNECTION: Connection = {
  id: "con_1",
  name: "Pinpoint Promo",
  connector: "aws-pinpoint",
  channel: "sms",
  status: "enabled",
  status_reason: null,
  status_at: null,
  health: "ok",
  config: { region: "us-east-1", project_id: "00ff", message_type: "TRANSACTIONAL" } as never,
  secrets: { secret_key: "••••EKEY" },
  position: 0,
  per_second: null,
  concurrency: null,
  validity: null,
  limits: { per_second: 4000, concurrency: 16, validity: 259200 },
  data_center: "global",
  check: null,
  callback_url: "https://w.example.com/receipts/con_1",
  tracker_url: "https://w.example.com/tracking/amazon-pinpoint-events",
  last_error: null,
  last_error_at: null,
  created_at: AT,
  updated_at: AT,
};
const ONE = {
  ...CONNECTORS,
  "GET /v1/message-counts": { data: [] },
  "GET /v1/connections/{id}": CONNECTION,
  "GET /v1/connections/{id}/setup": {
    connector: "aws-pinpoint",
    data_center: "global",
    tracker_url: CONNECTION.tracker_url,
    callback_url: CONNECTION.callback_url,
    data_centers: {},
    steps: [{ title: "Create a Pinpoint project", text: "In the console." }],
  },
  "GET /v1/connections/{id}/iam-policy": { Version: "2012-10-17" },
};
const REFUSED = refusal(422, "setup_check_failed", "Set-up code 2002", {
  setup_code: 2002,
  meaning: "Pinpoint account is not linked to a Kinesis Firehose Data Stream.",
  resolution: ["Go back to your Pinpoint SMS Project."],
  call: "mobiletargeting:GetEventStream",
  found: "the project has no event stream",
});

test("connections stand in their order by channel, and buttons change it", async () => {
  const second = { ...CONNECTION, id: "con_2", name: "Backup", position: 1 };
  const { user, asked } = open("/connections", {
    ...CONNECTORS,
    "GET /v1/connections": { data: [second, CONNECTION] },
    "POST /v1/connections/order": { data: [] },
  });
  const rows = within(await screen.findByRole("table", { name: "Text messages" })).getAllByRole("row");
  expect(rows[1]).toHaveTextContent("Pinpoint Promo");
  expect(rows[2]).toHaveTextContent("Backup");
  await user.click(screen.getByRole("button", { name: "Move Backup up" }));
  await expect
    .poll(() => asked.find(({ method }) => method === "POST")?.body)
    .toEqual({
      channel: "sms",
      connections: ["con_2", "con_1"],
    });
});

test("before there is a connection, the page says where Firehose has to report to, by data center", async () => {
  const { user } = open("/connections/new?connector=aws-pinpoint", CONNECTORS);
  const tracker = await screen.findByRole("region", { name: "Where the provider reports to" });
  expect(tracker).toHaveTextContent("https://w.example.com/tracking");
  await user.click(screen.getByLabelText(/^Data center/));
  await user.paste("in");
  expect(tracker).toHaveTextContent("https://in.example.com/tracking");
  await user.click(screen.getByRole("link", { name: "Choose another provider" }));
  await user.click(await screen.findByRole("link", { name: "Choose HTTP gateway" }));
  expect(await screen.findByLabelText(/^Name/)).toBeVisible();
  expect(screen.queryByRole("region", { name: "Where the provider reports to" })).toBeNull();
});

test("a connection is made by the fields of its connector; a refused check says what to do, then it is accepted", async () => {
  let tries = 0;
  const { user, asked, address } = open("/connections/new", {
    ...CONNECTORS,
    "POST /v1/connections": () => (++tries === 1 ? REFUSED : { ...CONNECTION, access_key_for_receipts: "wpr_secret" }),
  });
  await user.click(await screen.findByRole("link", { name: "Choose AWS Pinpoint" }));
  await user.click(await screen.findByLabelText(/^Name/));
  expect(address()).toContain("connector=aws-pinpoint");
  await user.paste("Promo");
  await user.click(screen.getByLabelText(/^Region/));
  await user.paste("us-east-1");
  await user.click(screen.getByLabelText(/^Project ID/));
  await user.paste("nope");
  await user.click(screen.getByRole("button", { name: "Add the connection" }));
  expect(await screen.findByText("This does not have the expected format.")).toBeVisible();
  expect(screen.getByText("This is needed.")).toBeVisible();
  await user.clear(screen.getByLabelText(/^Project ID/));
  await user.paste("00ff");
  await user.click(screen.getByLabelText(/^Secret key/));
  await user.paste("geheim");
  await user.click(screen.getByRole("button", { name: "Add the connection" }));
  const refused = await screen.findByRole("alert");
  expect(refused).toHaveTextContent("2002");
  expect(refused).toHaveTextContent("not linked to a Kinesis Firehose");
  expect(refused).toHaveTextContent("Go back to your Pinpoint SMS Project.");
  await user.click(screen.getByRole("button", { name: "Add the connection" }));
  expect(await screen.findByText("wpr_secret")).toBeVisible();
  expect(asked.findLast(({ method }) => method === "POST")?.body).toEqual({
    name: "Promo",
    connector: "aws-pinpoint",
    config: { region: "us-east-1", project_id: "00ff", secret_key: "geheim", message_type: "TRANSACTIONAL" },
  });
});

test("the page of a connection has the guide, and runs the check step by step", async () => {
  const step = { resolution: [], error: null, meaning: null, setup_code: null };
  const { user } = open("/connections/con_1", {
    ...ONE,
    "POST /v1/connections/{id}/check": {
      ok: false,
      result: "failed",
      checked_at: AT,
      setup_code: 2004,
      meaning: "The linked Kinesis Firehose Data Stream is Inactive.",
      resolution: ["Switch Status to Active."],
      checks: [
        { ...step, name: "event_stream", call: "mobiletargeting:GetEventStream", result: "ok", detail: "linked" },
        { ...step, name: "status", call: "firehose:Describe", result: "failed", setup_code: 2004, detail: "CREATING" },
      ],
    },
  });
  expect(await screen.findByText("Create a Pinpoint project")).toBeVisible();
  expect(screen.getByText("https://w.example.com/tracking/amazon-pinpoint-events")).toBeVisible();
  expect(await screen.findByText(/"Version": "2012-10-17"/)).toBeVisible();
  await user.click(screen.getByRole("button", { name: "Run the check" }));
  expect(await screen.findByText("Switch Status to Active.")).toBeVisible();
  const steps = within(screen.getByRole("list", { name: "Set-up check" })).getAllByRole("listitem");
  expect(steps[0]).toHaveTextContent("PassedThe project has an event stream");
  expect(steps[1]).toHaveTextContent("FailedThe stream is active2004");
});

test("the page of a connection says what went through it on the last day, and why it failed", async () => {
  const hour = new Date().toISOString();
  const count = (connection_id: string, status: string, number: number, code: number | null = null) => ({
    ...{ hour, connection_id, campaign: null, template_id: null, status, code },
    ...{ reason: code === null ? null : "Undelivered", count: number },
  });
  open("/connections/con_1", {
    ...ONE,
    "GET /v1/message-counts": {
      data: [
        count("con_1", "sent", 40),
        count("con_1", "delivered", 30),
        count("con_1", "failed", 7, 2009),
        count("con_2", "sent", 500),
      ],
    },
  });
  const traffic = await screen.findByRole("region", { name: "The last 24 hours" });
  expect(await within(traffic).findByText("40")).toBeVisible();
  expect(traffic).toHaveTextContent("Delivered30 (75%)");
  const table = within(traffic).getByRole("table", { name: "Failed, by reason" });
  expect(within(table).getByRole("row", { name: "2009 Undelivered 7" })).toBeVisible();
  expect(within(table).getByRole("link", { name: "7" })).toHaveAttribute(
    "href",
    "/messages?connection_id=con_1&status=failed&code=2009",
  );
});

test("a test message shows the exact request, the answer and what it means", async () => {
  const { user, asked } = open("/connections/con_1", {
    ...ONE,
    "POST /v1/connections/{id}/test": {
      message_id: "msg_1",
      accepted: false,
      request: { method: "POST", url: "https://p.example.com/m", headers: [["X-Key", "***"]], body: '{"a":1}' },
      response: { status: 400, headers: [], body: "bad" },
      verdict: {
        outcome: "rejected",
        code: 2003,
        failure: "Invalid Mobile Number",
        reason: "invalid_number",
        provider_code: "400",
        detail: "not a number",
        provider_message_id: null,
        retry_after: null,
      },
      timings: { total: 3 },
      error: null,
    },
  });
  await user.type(await screen.findByRole("textbox", { name: "To" }), "+1202");
  await user.click(screen.getByRole("button", { name: "Send test message" }));
  expect(await screen.findByText("The provider did not take it.")).toBeVisible();
  expect(screen.getByText("Invalid Mobile Number")).toBeVisible();
  expect(screen.getByText("POST https://p.example.com/m")).toBeVisible();
  expect(asked.findLast(({ method }) => method === "POST")?.body).toEqual({
    to: "+1202",
    text: "Test message of Waypost",
  });
});

test("limits and credentials are changed; a secret that is left empty is kept", async () => {
  const { user, asked } = open("/connections/con_1", { ...ONE, "PATCH /v1/connections/{id}": CONNECTION });
  const form = within(await screen.findByRole("form", { name: "Credentials and settings" }));
  await user.type(form.getByLabelText("Messages per second"), "50");
  await user.click(form.getByRole("button", { name: "Save" }));
  await expect.poll(() => asked.some(({ method }) => method === "PATCH")).toBe(true);
  const sent = () => asked.findLast(({ method }) => method === "PATCH")?.body;
  expect(sent()).toEqual({ name: "Pinpoint Promo", per_second: 50, concurrency: null, validity: null });
  expect(await screen.findAllByText("The connection is saved.")).not.toHaveLength(0);
});

test("a paused connection says why, and is enabled", async () => {
  const { user, asked } = open("/connections/con_1", {
    ...ONE,
    "GET /v1/connections/{id}": {
      ...CONNECTION,
      status: "paused",
      status_reason: "bad_credentials",
      status_at: AT,
      last_error: "The key was refused.",
    },
    "POST /v1/connections/{id}/enable": CONNECTION,
  });
  expect(await screen.findByText("This connection is paused")).toBeVisible();
  expect(screen.getAllByText(/The key was refused/)).not.toHaveLength(0);
  await user.click(screen.getByRole("button", { name: "Enable" }));
  await expect.poll(() => asked.some(({ path }) => path.endsWith("/enable"))).toBe(true);
});
