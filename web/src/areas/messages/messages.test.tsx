/** The pages of messages, as a person uses them. */
import { screen, within } from "@testing-library/react";
import { expect, test } from "vitest";
import type { MessageDetail } from "@/api/messages";
import { open } from "@/testing/open";
import { withPermissions } from "@/testing/person";

const AT = "2026-11-01T10:00:00Z";
const MESSAGE: MessageDetail = {
  id: "msg_1",
  channel: "sms",
  to: "+12025550101",
  status: "failed",
  code: 2009,
  failure: "Undelivered",
  reason: "unreachable",
  provider_code: "UNREACHABLE",
  provider_message_id: "abc",
  connection_id: "con_1",
  profile_id: "pro_1",
  template_id: null,
  template_version: null,
  campaign: "Spring",
  purpose: "promotional",
  metadata: {},
  test: false,
  tries: 1,
  parts: 1,
  price: 0.00645,
  currency: "USD",
  carrier: "310260",
  text_status: null,
  created_at: AT,
  updated_at: AT,
  due_at: null,
  expires_at: AT,
  history: [
    { status: "queued", at: AT },
    { status: "sending", at: AT, connection_id: "con_1" },
    { status: "failed", at: AT, code: 2009, reason: "unreachable", provider_code: "UNREACHABLE", detail: "Off" },
    { status: "sent", at: AT, noted: true },
  ],
  content: { text: "Hello Ada" } as never,
  campaign_id: null,
  clicks: 0,
  machine_clicks: 0,
  opens: 0,
  machine_opens: 0,
};
const CONNECTIONS = {
  "GET /v1/connections": { data: [{ id: "con_1", name: "Pinpoint Promo" }] as never },
};

test("the log is narrowed by campaign, code, days and the id of the provider", async () => {
  const { user, asked, address } = open("/messages", { ...CONNECTIONS, "GET /v1/messages": { data: [MESSAGE] } });
  await user.type(await screen.findByLabelText("Campaign"), "Spring");
  await user.type(screen.getByLabelText("Failure code"), "20x09");
  await user.type(screen.getByLabelText("Id at the provider"), "abc");
  await user.type(screen.getByLabelText("From"), "2026-11-01");
  await user.type(screen.getByLabelText("To"), "2026-11-02");
  await expect
    .poll(() => asked.findLast(({ path }) => path === "/v1/messages")?.query)
    .toMatchObject({
      campaign: "Spring",
      code: "2009",
      provider_message_id: "abc",
      since: new Date(2026, 10, 1).toISOString(),
      until: new Date(2026, 10, 3).toISOString(),
    });
  await expect.poll(address).toContain("campaign=Spring");
});

test("a message leads to its campaign and its template", async () => {
  const message = { ...MESSAGE, campaign_id: "cmp_1", template_id: "tpl_1", template_version: 2 };
  open("/messages/msg_1", { ...CONNECTIONS, "GET /v1/messages/{id}": message });
  expect(await screen.findByRole("link", { name: "Spring" })).toHaveAttribute("href", "/campaigns/cmp_1");
  expect(screen.getByRole("link", { name: /tpl_1/ })).toHaveAttribute("href", "/templates/tpl_1");
});

test("the log is narrowed by address, status, channel and connection, and the address of the page keeps it", async () => {
  const { user, asked, address } = open("/messages", { ...CONNECTIONS, "GET /v1/messages": { data: [MESSAGE] } });
  const row = within(await screen.findByRole("table", { name: "Messages" })).getAllByRole("row")[1];
  expect(row).toHaveTextContent("+12025550101Failed2009UndeliveredText message");
  await user.selectOptions(screen.getByLabelText("Status"), "Failed");
  await user.selectOptions(screen.getByLabelText("Channel"), "Text message");
  await screen.findByRole("option", { name: "Pinpoint Promo" });
  await user.selectOptions(screen.getByLabelText("Connection"), "Pinpoint Promo");
  await user.click(screen.getByLabelText("Address"));
  await user.paste("+12025550101");
  await expect
    .poll(() => asked.at(-1)?.query)
    .toEqual({ status: "failed", channel: "sms", connection_id: "con_1", to: "+12025550101" });
  expect(address()).toContain("status=failed");
});

test("one message tells its whole story, and is sent again", async () => {
  const { user, asked } = open("/messages/msg_1", {
    ...CONNECTIONS,
    "GET /v1/messages/{id}": MESSAGE,
    "POST /v1/messages/{id}/resend": { id: "msg_1", status: "queued" } as never,
  });
  expect(await screen.findByRole("heading", { level: 1, name: "Message to +12025550101" })).toBeVisible();
  expect(await screen.findAllByRole("link", { name: "Pinpoint Promo" })).toHaveLength(2);
  const steps = within(screen.getByRole("list", { name: "History" })).getAllByRole("listitem");
  expect(steps).toHaveLength(4);
  expect(steps[1]).toHaveTextContent("Through Pinpoint Promo");
  expect(steps[2]).toHaveTextContent("2009unreachableOff");
  expect(steps[3]).toHaveTextContent("It changed nothing");
  expect(screen.getByText("Hello Ada")).toBeVisible();
  expect(screen.getByText("$0.00645")).toBeVisible();
  await user.click(screen.getByRole("button", { name: "Send again" }));
  await user.click(within(await screen.findByRole("dialog")).getByRole("button", { name: "Send again" }));
  expect(await screen.findAllByText("The message is queued again.")).not.toHaveLength(0);
  expect(asked.some(({ path }) => path === "/v1/messages/msg_1/resend")).toBe(true);
});

test("an email stands in a frame of its own; one that waits is cancelled", async () => {
  const { user, asked } = open("/messages/msg_1", {
    ...CONNECTIONS,
    "GET /v1/messages/{id}": {
      ...MESSAGE,
      channel: "email",
      to: "ada@example.com",
      status: "queued",
      content: { subject: "Spring", html: "<p>Hello</p>" } as never,
    },
    "POST /v1/messages/{id}/cancel": { id: "msg_1", status: "skipped" } as never,
  });
  expect(await screen.findByTitle("The email to ada@example.com")).toHaveAttribute("sandbox");
  await user.click(screen.getByRole("button", { name: "Cancel the message" }));
  await user.click(within(await screen.findByRole("dialog")).getByRole("button", { name: "Cancel the message" }));
  await expect.poll(() => asked.some(({ path }) => path.endsWith("/cancel"))).toBe(true);
});

test("those who may only look can do nothing with it", async () => {
  open("/messages/msg_1", { "GET /v1/me": withPermissions("messages.read"), "GET /v1/messages/{id}": MESSAGE });
  expect(await screen.findByText("Hello Ada")).toBeVisible();
  expect(screen.queryByRole("button", { name: "Send again" })).not.toBeInTheDocument();
});
