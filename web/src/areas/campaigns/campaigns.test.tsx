/** The pages of campaigns, as a person uses them. */
import { screen, within } from "@testing-library/react";
import { describe, expect, test, vi } from "vitest";
import type { Campaign, Overview } from "@/api/campaigns";
import { type Answers, refusal } from "@/testing/answers";
import { AT, DRAFT, NONE } from "@/testing/campaign";
import { open } from "@/testing/open";
import { WORKSPACE, withPermissions } from "@/testing/person";
import { readSchedule, writeSchedule } from "./schedule";

const READY: Campaign = { ...DRAFT, template_id: "tpl_1", audience: { lists: ["lst_1"] } };
const OVERVIEW: Overview = {
  audience: 100,
  waiting: 40,
  queued: 0,
  held: [],
  sent: 50,
  delivered: 45,
  unknown: 0,
  holdout: 0,
  failed: [{ code: 2004, name: "INVALID_TARGET", meaning: "The number does not exist.", count: 4 }],
  skipped: [{ reason: "not_consented", count: 6 }],
  opens: { total: 20, unique: 12, machine: 3 },
  clicks: { ...NONE, unique: 5, links: [{ url: "https://shop.example/sale", total: 9, unique: 5, machine: 0 }] },
  unsubscribes: 1,
  complaints: 0,
  bounces: 0,
  conversions: { total: 0, rate: 0, holdout: 0, holdout_total: 0, holdout_rate: null, lift: null },
  variants: [],
  series: [],
};
const ANSWERS: Answers = {
  "GET /v1/campaigns/{id}": DRAFT,
  "GET /v1/workspace": { ...WORKSPACE, time_zone: "Asia/Tokyo" },
  "GET /v1/connections": { data: [] },
  "GET /v1/templates": { data: [] },
  "GET /v1/segments": { data: [] },
  "GET /v1/lists": {
    data: [
      {
        id: "lst_1",
        name: "News",
        double_opt_in: false,
        template_id: null,
        members: { subscribed: 1240, pending: 0, unsubscribed: 0 },
        created_at: AT,
        updated_at: AT,
      },
    ],
  },
  "POST /v1/campaigns/{id}/preview": {
    variant: "default",
    content: { subject: "Hello", text: "Hi ⟦person.first_name⟧" },
    undefined: [{ name: "person.first_name", field: "text", line: 1, column: 4 }],
    sms: null,
  },
  "POST /v1/campaigns/{id}/estimate": {
    audience: 1240,
    reach: 1100,
    excluded: [
      { reason: "not_consented", count: 120 },
      { reason: "no_address", count: 20 },
    ],
    approximate: false,
    missing: [],
  },
};

test("campaigns are listed by state", async () => {
  const live = { ...READY, id: "cmp_2", name: "Live", state: "live" as const, progress: { audience: 200, done: 50 } };
  const { user, address } = open("/campaigns", { "GET /v1/campaigns": { data: [DRAFT, live] } });
  expect(await screen.findByRole("link", { name: "Autumn" })).toHaveAttribute("href", "/campaigns/cmp_1/edit");
  expect(screen.getByRole("link", { name: "Live" })).toHaveAttribute("href", "/campaigns/cmp_2");
  expect(screen.getByRole("progressbar", { name: "Progress: Live" })).toHaveAttribute("aria-valuenow", "25");
  await user.selectOptions(screen.getByLabelText("State"), "live");
  await expect.poll(address).toBe("/campaigns?state=live");
});

describe("the wizard", () => {
  test("makes a draft, and saves the audience as it goes on", async () => {
    const { user, asked, address } = open("/campaigns/new", {
      ...ANSWERS,
      "POST /v1/campaigns": DRAFT,
      "PATCH /v1/campaigns/{id}": { ...DRAFT, audience: { lists: ["lst_1"] } },
    });
    await user.type(await screen.findByLabelText("Name"), "Autumn");
    await user.click(screen.getByRole("button", { name: "Create the draft" }));
    await expect.poll(address).toBe("/campaigns/cmp_1/edit?step=audience");
    const include = within(await screen.findByRole("region", { name: "Who gets it" }));
    await user.click(await include.findByRole("checkbox", { name: "News" }));
    await user.click(screen.getByRole("button", { name: "Save and go on" }));
    await expect.poll(address).toBe("/campaigns/cmp_1/edit?step=content");
    expect(asked.find(({ method }) => method === "PATCH")?.body).toEqual({
      audience: { lists: ["lst_1"] },
      exclude: {},
    });
  });

  test("says that lists cannot be loaded, not that there are none", async () => {
    let down = true;
    const { user } = open("/campaigns/cmp_1/edit?step=audience", {
      ...ANSWERS,
      "GET /v1/lists": () => (down ? refusal(500, "internal", "The lists failed.") : ANSWERS["GET /v1/lists"]) as never,
    });
    const include = within(await screen.findByRole("region", { name: "Who gets it" }));
    expect(await include.findByText("The lists failed.")).toBeVisible();
    expect(include.queryByText("There are no lists yet.")).toBeNull();
    down = false;
    await user.click(include.getByRole("button", { name: "Try again" }));
    expect(await include.findByRole("checkbox", { name: "News" })).toBeVisible();
  });

  test("sets a recurring schedule and a rate", async () => {
    const { user, asked } = open("/campaigns/cmp_1/edit?step=schedule", {
      ...ANSWERS,
      "GET /v1/campaigns/{id}": READY,
      "PATCH /v1/campaigns/{id}": READY,
    });
    await user.click(await screen.findByRole("radio", { name: "Again and again" }));
    await user.click(screen.getByRole("checkbox", { name: "Thursday" }));
    await user.click(screen.getByRole("checkbox", { name: "Monday" }));
    expect(screen.getByLabelText("Time zone")).toHaveValue("Asia/Tokyo");
    await user.clear(screen.getByLabelText("Time zone"));
    await user.type(screen.getByLabelText("Time zone"), "Europe/Berlin");
    await user.type(screen.getByLabelText("Messages per minute"), "10");
    expect(await screen.findByText("At this rate 1,100 people take about 110 minutes.")).toBeVisible();
    await user.click(screen.getByRole("button", { name: "Save and go on" }));
    await expect
      .poll(() => asked.find(({ method }) => method === "PATCH")?.body)
      .toEqual({
        schedule: {
          kind: "recurring",
          every: "week",
          interval: 1,
          at: "09:00",
          timezone: "Europe/Berlin",
          weekdays: ["mon", "thu"],
        },
        throttle: { per_minute: 10 },
        holdout: 0,
      });
  });

  test("says what is missing before the launch", async () => {
    const lacking = [
      { code: "no_template", field: "template_id", detail: "Choose a template." },
      { code: "no_audience", field: "audience", detail: "Choose a list." },
      { code: "connection_not_ready", field: "connection_id", detail: "The connection 'Shop' is paused." },
    ];
    const estimate = { audience: 0, reach: 0, excluded: [], approximate: false, missing: lacking };
    open("/campaigns/cmp_1/edit?step=review", { ...ANSWERS, "POST /v1/campaigns/{id}/estimate": estimate });
    const missing = within(await screen.findByRole("region", { name: "What is missing" }));
    expect(await missing.findByText(/The connection 'Shop' is paused/)).toBeVisible();
    expect(missing.getByText(/The audience names nobody/)).toBeVisible();
    expect(missing.getByText(/No template is chosen/)).toBeVisible();
    expect(missing.queryByText(/Nothing is missing/)).not.toBeInTheDocument();
    expect(missing.getByRole("link", { name: "Go to Content" })).toBeVisible();
    expect(screen.getByRole("button", { name: "Launch" })).toBeDisabled();
  });

  test("shows the reach minus each exclusion, and what the server refuses a launch for", async () => {
    const { user, asked } = open("/campaigns/cmp_1/edit?step=review", {
      ...ANSWERS,
      "GET /v1/campaigns/{id}": READY,
      "POST /v1/campaigns/{id}/launch": refusal(400, "campaign_incomplete", "The campaign lacks something.", {
        missing: [{ code: "no_connection", field: "connection_id", detail: "No connection for email is enabled." }],
      }),
    });
    const reach = within(await screen.findByRole("table", { name: "Who gets it" }));
    expect(reach.getByRole("row", { name: "Audience 1,240" })).toBeVisible();
    expect(reach.getByRole("row", { name: "less: not consented -120" })).toBeVisible();
    expect(reach.getByRole("row", { name: "Will get it 1,100" })).toBeVisible();
    await user.click(screen.getByRole("button", { name: "Send to 1,100 people" }));
    const dialog = within(await screen.findByRole("dialog", { name: "Send Autumn to 1,100 people?" }));
    await user.type(dialog.getByLabelText("Type 1100 to confirm"), "1100");
    await user.click(dialog.getByRole("button", { name: "Send to 1,100 people" }));
    expect(await screen.findByText(/No connection for this channel is enabled/)).toBeVisible();
    expect(screen.getByRole("link", { name: "Go to Basics" })).toBeVisible();
    expect(asked.find(({ path }) => path.endsWith("/launch"))?.headers.get("idempotency-key")).toBeTruthy();
  });
});

describe("the overview", () => {
  const LIVE: Campaign = { ...READY, state: "live", progress: { audience: 100, done: 60 } };

  test("shows the progress, failures with their meaning, reasons and links", async () => {
    const { user, asked } = open("/campaigns/cmp_1", {
      "GET /v1/campaigns/{id}": LIVE,
      "GET /v1/campaigns/{id}/overview": OVERVIEW,
      "POST /v1/campaigns/{id}/pause": { ...LIVE, state: "paused" },
    });
    expect(await screen.findByText(/60 of 100 done/)).toBeVisible();
    expect(await screen.findByRole("row", { name: "2004 INVALID_TARGET The number does not exist. 4" })).toBeVisible();
    expect(screen.getByRole("link", { name: "2004 INVALID_TARGET" })).toHaveAttribute(
      "href",
      "/campaigns/cmp_1/recipients?status=failed&code=2004",
    );
    expect(screen.getByRole("link", { name: "not consented" })).toHaveAttribute(
      "href",
      "/campaigns/cmp_1/recipients?status=skipped&reason=not_consented",
    );
    expect(screen.getByRole("row", { name: "https://shop.example/sale 5 9" })).toBeVisible();
    await user.click(screen.getByRole("button", { name: "Pause" }));
    await expect.poll(() => asked.some(({ path }) => path.endsWith("/pause"))).toBe(true);
  });

  test("can be read, and not stopped, by who may only read", async () => {
    open("/campaigns/cmp_1", {
      "GET /v1/me": withPermissions("campaigns.read"),
      "GET /v1/campaigns/{id}": LIVE,
      "GET /v1/campaigns/{id}/overview": OVERVIEW,
    });
    expect(await screen.findByRole("region", { name: "Numbers" })).toBeVisible();
    expect(screen.queryByRole("button", { name: "Pause" })).toBeNull();
  });

  test("has its state below the title in HTML that browsers accept", async () => {
    const complaints = vi.spyOn(console, "error").mockImplementation(() => undefined);
    open("/campaigns/cmp_1/recipients", {
      "GET /v1/campaigns/{id}": LIVE,
      "GET /v1/campaigns/{id}/recipients": { data: [] },
    });
    expect(await screen.findByText("live")).toBeVisible();
    const said = complaints.mock.calls.map((call) => call.join(" "));
    complaints.mockRestore();
    expect(said.filter((line) => line.includes("cannot be a descendant"))).toEqual([]);
  });

  test("lists recipients who were deleted without a link", async () => {
    const gone = {
      profile_id: null,
      status: "skipped",
      reason: "profile_deleted",
      code: null,
      failure: null,
      variant: null,
      message_id: null,
      to: null,
      opened_at: null,
      clicked_at: null,
      converted_at: null,
    };
    open("/campaigns/cmp_1/recipients", {
      "GET /v1/campaigns/{id}": LIVE,
      "GET /v1/campaigns/{id}/recipients": { data: [gone, gone] },
    });
    const rows = await screen.findAllByRole("row", { name: /Deleted person/ });
    expect(rows).toHaveLength(2);
    expect(rows[0]?.querySelector("a")).toBeNull();
  });

  test("lists recipients with the reason", async () => {
    const { user, asked } = open("/campaigns/cmp_1/recipients?status=failed", {
      "GET /v1/campaigns/{id}": LIVE,
      "GET /v1/campaigns/{id}/recipients": ({ query }) =>
        query.format === "csv"
          ? ("profile_id\npro_1\n" as never)
          : {
              data: [
                {
                  profile_id: "pro_1",
                  status: "failed",
                  reason: "rejected",
                  code: 2004,
                  failure: "INVALID_TARGET",
                  variant: null,
                  message_id: "msg_1",
                  to: "ada@example.com",
                  opened_at: null,
                  clicked_at: null,
                  converted_at: null,
                },
              ],
            },
    });
    expect(await screen.findByRole("row", { name: /ada@example.com.*2004.*INVALID_TARGET: rejected/ })).toBeVisible();
    URL.createObjectURL = () => "blob:file";
    URL.revokeObjectURL = () => undefined;
    await user.click(screen.getByRole("button", { name: "Download those that fit as CSV" }));
    await expect.poll(() => asked.some(({ query }) => query.format === "csv" && query.status === "failed")).toBe(true);
  });
});

test.each([
  { kind: "now" },
  { kind: "local", at: "2026-12-01T09:00", late: "next_day" },
  { kind: "at", at: "2026-12-01T08:00:00.000Z" },
  { kind: "recurring", every: "month", interval: 1, at: "18:30", timezone: "America/New_York", day: 31 },
] as const)("the schedule %j is the same after a walk through the form", (schedule) => {
  expect(writeSchedule(readSchedule({ ...DRAFT, schedule }, "UTC"))).toEqual(schedule);
});
