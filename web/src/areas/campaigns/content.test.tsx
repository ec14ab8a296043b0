/** The content step, copies of campaigns, and clicks on the mail, as a person sees them. */
import { screen, within } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import type { Campaign, Overview } from "@/api/campaigns";
import { type Answers, refusal } from "@/testing/answers";
import { AT, DRAFT, NONE } from "@/testing/campaign";
import { open } from "@/testing/open";
import { withPermissions } from "@/testing/person";
import { readExtras, writeExtras } from "./extras";
import { markClicks, plainUrl } from "./marks";

const CAMPAIGN: Campaign = {
  ...DRAFT,
  template_id: "tpl_1",
  audience: { lists: ["lst_1"] },
  throttle: { per_minute: 600 },
  holdout: 0.1,
};
const variant = (name: string) => ({ name, weight: 1, content: {} as never });
const PREVIEW = {
  variant: "A",
  content: { subject: "Hello", html: '<p><a href="https://shop.example/sale">Sale</a></p>' },
  undefined: [],
  sms: null,
};
const ANSWERS: Answers = {
  "GET /v1/campaigns/{id}": CAMPAIGN,
  "GET /v1/metrics": { data: [] },
  "GET /v1/templates": {
    data: [
      {
        id: "tpl_1",
        name: "Sale",
        channel: "email",
        version: 1,
        current_version: 1,
        variants: [variant("A"), variant("B")],
        created_at: AT,
        updated_at: AT,
      },
    ],
  },
  "POST /v1/campaigns/{id}/preview": PREVIEW,
};
const OVERVIEW: Overview = {
  audience: 100,
  waiting: 0,
  queued: 0,
  held: [],
  sent: 100,
  delivered: 100,
  unknown: 0,
  holdout: 0,
  failed: [],
  skipped: [],
  opens: NONE,
  clicks: {
    ...NONE,
    unique: 6,
    links: [
      { url: "https://shop.example/sale?utm_source=waypost", total: 9, unique: 5, machine: 0 },
      { url: "https://shop.example/old", total: 1, unique: 1, machine: 0 },
    ],
  },
  unsubscribes: 0,
  complaints: 0,
  bounces: 0,
  conversions: { total: 0, rate: 0, holdout: 0, holdout_total: 0, holdout_rate: null, lift: null },
  variants: ["A", "B"].map((name) => ({
    variant: name,
    sent: 50,
    delivered: 50,
    failed: 0,
    opens: 0,
    clicks: 3,
    conversions: 0,
  })),
  series: [],
};

describe("the content step", () => {
  test("sets the search for the best variant, the goal and UTM parameters", async () => {
    const { user, asked } = open("/campaigns/cmp_1/edit?step=content", {
      ...ANSWERS,
      "PATCH /v1/campaigns/{id}": CAMPAIGN,
    });
    await user.click(await screen.findByRole("checkbox", { name: "Find the best variant first" }));
    await user.clear(screen.getByLabelText("Part that gets them first, in percent"));
    await user.type(screen.getByLabelText("Part that gets them first, in percent"), "15");
    await user.selectOptions(screen.getByLabelText("The best is the one with the most"), "conversions");
    await user.click(screen.getByRole("button", { name: "Save and go on" }));
    expect(await screen.findByText(/needs an event that counts as success/)).toBeVisible();
    await user.type(screen.getByLabelText("Event"), "Order Completed");
    await user.selectOptions(screen.getByLabelText("Decided after: unit"), "days");
    await user.click(screen.getByRole("radio", { name: "Others for this campaign" }));
    await user.type(screen.getByLabelText("utm_source"), "news");
    await user.selectOptions(screen.getByLabelText("Count opens, by a pixel"), "No");
    await user.click(screen.getByRole("button", { name: "Save and go on" }));
    await expect
      .poll(() => asked.find(({ method }) => method === "PATCH")?.body)
      .toEqual({
        template_id: "tpl_1",
        test: { sample: 0.15, winner_by: "conversions", after: "4d", minimum: 1 },
        conversion: { event: "Order Completed", within: "7d" },
        utm: { source: "news", medium: "", campaign: "" },
        tracking: { opens: false, clicks: null },
      });
  });

  test("says beside its field what the server refuses", async () => {
    const { user } = open("/campaigns/cmp_1/edit?step=content", {
      ...ANSWERS,
      "GET /v1/campaigns/{id}": { ...CAMPAIGN, conversion: { event: "Order Completed", within: "7d" } },
      "PATCH /v1/campaigns/{id}": refusal(400, "invalid_duration", "It may be at most 90 days.", {
        field: "conversion.within",
      }),
    });
    const within = await screen.findByLabelText("Within");
    await user.clear(within);
    await user.type(within, "91");
    await user.click(screen.getByRole("button", { name: "Save and go on" }));
    expect(await screen.findByText("It may be at most 90 days.")).toBeVisible();
    expect(within).toBeInvalid();
    await user.type(within, "{Backspace}");
    expect(screen.queryByText("It may be at most 90 days.")).toBeNull();
  });

  test("gives back what it was given", () => {
    const set = {
      test: { sample: 0.07, winner_by: "opens", after: "90m", minimum: 20 },
      conversion: { event: "Order Completed", within: "2w" },
      utm: { source: "a", medium: "b", campaign: "c" },
      tracking: { opens: null, clicks: true },
    } as const;
    expect(writeExtras(readExtras({ ...CAMPAIGN, ...set }))).toEqual(set);
    expect(writeExtras(readExtras(CAMPAIGN))).toEqual({ test: null, conversion: null, utm: null, tracking: null });
  });
});

test("a campaign is copied as a draft, without a time that has passed", async () => {
  const over: Campaign = { ...CAMPAIGN, state: "finished", schedule: { kind: "at", at: "2020-01-01T09:00:00Z" } };
  const { user, asked, address } = open("/campaigns/cmp_1", {
    ...ANSWERS,
    "GET /v1/campaigns/{id}": ({ params }) => (params.id === "cmp_1" ? over : { ...CAMPAIGN, id: "cmp_2" }),
    "GET /v1/campaigns/{id}/overview": OVERVIEW,
    "GET /v1/connections": { data: [] },
    "POST /v1/campaigns": ({ body }) => ({ ...CAMPAIGN, ...body, id: "cmp_2" }),
  });
  await user.click(await screen.findByRole("button", { name: "Duplicate" }));
  await expect.poll(address).toBe("/campaigns/cmp_2/edit");
  expect((await screen.findAllByText(/Autumn \(copy\) is a draft/))[0]).toBeInTheDocument();
  expect(asked.find(({ method, path }) => method === "POST" && path === "/v1/campaigns")?.body).toEqual({
    name: "Autumn (copy)",
    channel: "email",
    template_id: "tpl_1",
    audience: { lists: ["lst_1"] },
    exclude: {},
    throttle: { per_minute: 600 },
    purpose: "promotional",
    connection_id: null,
    variables: {},
    validity: null,
    conversion: null,
    holdout: 0.1,
    test: null,
    utm: null,
    tracking: null,
  });
});

describe("clicks on the mail", () => {
  test("stand on the mail of the chosen variant, and what is not on it is named", async () => {
    const { user, asked } = open("/campaigns/cmp_1", {
      ...ANSWERS,
      "GET /v1/campaigns/{id}": { ...CAMPAIGN, state: "finished" },
      "GET /v1/campaigns/{id}/overview": OVERVIEW,
    });
    const section = within(await screen.findByRole("region", { name: "Clicks on the mail" }));
    expect(section.getByTitle("The mail with the clicks on each link")).toHaveAttribute("sandbox");
    expect(section.getByText(/Not on this mail, but clicked: https:\/\/shop.example\/old/)).toBeVisible();
    await user.selectOptions(section.getByLabelText("Variant"), "B");
    await expect.poll(() => asked.findLast(({ path }) => path.endsWith("/preview"))?.body).toEqual({ variant: "B" });
  });

  test("are seen by who may only read", async () => {
    open("/campaigns/cmp_1", {
      ...ANSWERS,
      "GET /v1/me": withPermissions("campaigns.read"),
      "GET /v1/campaigns/{id}": { ...CAMPAIGN, state: "finished" },
      "GET /v1/campaigns/{id}/overview": OVERVIEW,
    });
    expect(await screen.findByRole("region", { name: "Clicks on the mail" })).toBeVisible();
  });

  test("are written into its links", () => {
    const html =
      '<a href="https://s.example/a?x=1">A</a><a href="mailto:x@y.example">M</a><a href="https://s.example/b">B</a>';
    const links = [
      { url: "https://s.example/a?x=1&utm_source=mail", unique: 4 },
      { url: "https://s.example/a?x=1&utm_source=other", unique: 1 },
      { url: "https://s.example/c", unique: 2 },
    ];
    const marked = markClicks(html, links, (n) => `(${n})`);
    const page = new DOMParser().parseFromString(marked.html, "text/html");
    expect([...page.links].map((link) => link.textContent)).toEqual(["A(5)", "M", "B(0)"]);
    expect(marked.missing).toEqual(["https://s.example/c"]);
    expect(plainUrl("{{ event.url }}")).toBe("{{ event.url }}");
  });
});
