/** The pages of events, as a person uses them. */
import { screen, within } from "@testing-library/react";
import { expect, test } from "vitest";
import type { Metric } from "@/api/metrics";
import { open } from "@/testing/open";

const AT = "2026-11-01T10:00:00Z";
const EVENT = {
  id: "evt_1",
  type: "event.order_shipped",
  message_id: "m-1",
  profile_id: "pro_1",
  occurred_at: AT,
  received_at: AT,
  data: { metric: "Order Shipped", properties: { total: 99.5 } },
  person: {
    id: "pro_2",
    first_name: "Ada",
    last_name: "Lovelace",
    user_id: "u-1",
    email: "ada@example.com",
    phone: null,
  },
};
const TYPES = {
  "GET /v1/event-types": {
    data: [{ type: "event.order_shipped", metric: "Order Shipped", description: "", schema: {}, example: {} }],
  },
};
const METRIC: Metric = {
  id: "met_1",
  name: "Thank you",
  source: "text",
  event_type: "text.status",
  created_at: AT,
  last_seen: AT,
  total: 12,
  count: 5,
  statuses: { DELIVERED: 3, NOT_FOUND: 2 },
};

test("the feed is narrowed by type and time, and leads to the raw event", async () => {
  const { user, asked } = open("/events", {
    ...TYPES,
    "GET /v1/events": { data: [EVENT, { ...EVENT, id: "evt_2", person: null }] },
    "GET /v1/events/{id}": EVENT,
  });
  const table = await screen.findByRole("table", { name: "Events" });
  const [, first, second] = within(table).getAllByRole("row");
  expect(first).toHaveTextContent("event.order_shippedOrder ShippedAda Lovelace");
  // Who the person was merged into, and the id where nothing is known of them any more.
  expect(within(first as HTMLElement).getByRole("link", { name: "Ada Lovelace" })).toHaveAttribute(
    "href",
    "/people/pro_2",
  );
  expect(within(second as HTMLElement).getByRole("link", { name: "pro_1" })).toHaveAttribute("href", "/people/pro_1");
  await screen.findByRole("option", { name: "event.order_shipped" });
  await user.selectOptions(screen.getByLabelText("Type"), "event.order_shipped");
  await user.selectOptions(screen.getByLabelText("Since"), "The last hour");
  await expect
    .poll(() => asked.at(-1)?.query)
    .toMatchObject({ type: "event.order_shipped", since: expect.any(String) });
  await user.click((await screen.findAllByRole("link", { name: "event.order_shipped" }))[0] as HTMLElement);
  expect(await screen.findByRole("heading", { level: 1, name: "Event event.order_shipped" })).toBeVisible();
  expect(screen.getByText(/"total": 99.5/)).toBeVisible();
});

test("metrics are listed with their counts of the period", async () => {
  const { user, asked } = open("/events/metrics", { "GET /v1/metrics": { data: [METRIC] } });
  expect(await screen.findByRole("row", { name: /Thank you Texts 5 12/ })).toBeVisible();
  await user.selectOptions(screen.getByLabelText("Period"), "The last 7 days");
  await expect.poll(() => asked.at(-1)?.query.days).toBe("7");
});

test("one metric has a chart, the same figures as a table, and its events", async () => {
  const { user, asked } = open("/events/metrics/met_1?days=1", {
    "GET /v1/metrics/{id}": METRIC,
    "GET /v1/metrics/{id}/timeline": {
      metric_id: "met_1",
      name: "Thank you",
      interval: "hour",
      timezone: "UTC",
      since: AT,
      until: AT,
      starts: [AT, "2026-11-01T11:00:00Z"],
      series: [
        { status: "DELIVERED", total: 3, counts: [1, 2] },
        { status: "NOT_FOUND", total: 2, counts: [2, 0] },
      ],
    },
    "GET /v1/metrics/{id}/activity": {
      data: [
        {
          id: "evt_1",
          type: "text.status",
          name: "Thank you",
          status: "DELIVERED",
          message_id: "m-1",
          occurred_at: AT,
          received_at: AT,
          person: { id: "pro_1", first_name: "Ada", last_name: null, user_id: null, email: null, phone: null },
          data: { phone: "+12025550101" },
        },
      ],
    },
  });
  const chart = within(await screen.findByRole("figure"));
  await user.click(chart.getByRole("button", { name: "As a table" }));
  expect(chart.getByRole("columnheader", { name: "NOT_FOUND" })).toBeVisible();
  expect(chart.getByRole("row", { name: /10:00.* 1 2$/ })).toBeVisible();
  expect(screen.getByText(/5 events in the period, by hours/)).toBeVisible();
  expect(asked.find(({ path }) => path.endsWith("/timeline"))?.query).toMatchObject({ interval: "hour", by: "Status" });
  await user.click(await screen.findByRole("button", { name: "Show the data" }));
  expect(screen.getByText(/"phone": "\+12025550101"/)).toBeVisible();
  await user.selectOptions(screen.getByLabelText("Status"), "NOT_FOUND");
  await expect.poll(() => asked.some(({ query }) => query.Status === "NOT_FOUND")).toBe(true);
});
