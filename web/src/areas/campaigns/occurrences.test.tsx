/** Campaigns that are sent again and again: whose numbers and recipients the pages show. */
import { screen } from "@testing-library/react";
import { expect, test } from "vitest";
import type { Campaign, Overview } from "@/api/campaigns";
import type { Answers } from "@/testing/answers";
import { AT, DRAFT, NONE } from "@/testing/campaign";
import { open } from "@/testing/open";

const occurrence = (id: string, planned_at: string) => ({
  id,
  planned_at,
  state: "finished",
  progress: { audience: 10, done: 10 },
  winner: null,
  decided_at: null,
  ended_at: planned_at,
});
const RECURRING: Campaign = {
  ...DRAFT,
  state: "live",
  template_id: "tpl_1",
  audience: { lists: ["lst_1"] },
  occurrences: [occurrence("occ_2", "2026-11-08T09:00:00Z"), occurrence("occ_1", AT)],
};
const OVERVIEW: Overview = {
  audience: 20,
  waiting: 0,
  queued: 0,
  held: [],
  sent: 17,
  delivered: 17,
  unknown: 0,
  holdout: 0,
  failed: [{ code: 2004, name: "INVALID_TARGET", meaning: "The number does not exist.", count: 2 }],
  skipped: [{ reason: "not_consented", count: 1 }],
  opens: NONE,
  clicks: { ...NONE, links: [] },
  unsubscribes: 0,
  complaints: 0,
  bounces: 0,
  conversions: { total: 0, rate: 0, holdout: 0, holdout_total: 0, holdout_rate: null, lift: null },
  variants: [],
  series: [],
};
const ANSWERS: Answers = {
  "GET /v1/campaigns/{id}": RECURRING,
  "GET /v1/campaigns/{id}/overview": OVERVIEW,
  "GET /v1/campaigns/{id}/recipients": ({ query }) =>
    query.format === "csv" ? ("profile_id\n" as never) : { data: [], next: null },
};

test("links of an occurrence lead to its recipients, and those of all say where they lead", async () => {
  const { user } = open("/campaigns/cmp_1", ANSWERS);
  expect(await screen.findByText(/numbers of all occurrences together/)).toBeVisible();
  await user.selectOptions(screen.getByLabelText("Occurrence"), "occ_1");
  await expect.poll(() => screen.queryByText(/numbers of all occurrences together/)).toBeNull();
  expect(await screen.findByRole("link", { name: "2004 INVALID_TARGET" })).toHaveAttribute(
    "href",
    "/campaigns/cmp_1/recipients?occurrence=occ_1&status=failed&code=2004",
  );
  expect(screen.getByRole("link", { name: "not consented" })).toHaveAttribute(
    "href",
    "/campaigns/cmp_1/recipients?occurrence=occ_1&status=skipped&reason=not_consented",
  );
  await user.click(screen.getByRole("link", { name: "Recipients" }));
  expect(await screen.findByLabelText("Occurrence")).toHaveValue("occ_1");
});

test("recipients are those of the latest occurrence, or of the one that is chosen, also in the file", async () => {
  const { user, asked, address } = open("/campaigns/cmp_1/recipients", ANSWERS);
  const field = await screen.findByLabelText("Occurrence");
  expect(field).toHaveDisplayValue("The latest");
  await user.selectOptions(field, "occ_1");
  await expect.poll(address).toBe("/campaigns/cmp_1/recipients?occurrence=occ_1");
  URL.createObjectURL = () => "blob:file";
  URL.revokeObjectURL = () => undefined;
  await user.click(screen.getByRole("button", { name: "Download all of this occurrence as CSV" }));
  await expect.poll(() => asked.find(({ query }) => query.format === "csv")?.query.occurrence_id).toBe("occ_1");
});

test("a code that is no number is called so, and not asked for", async () => {
  const { user, asked } = open("/campaigns/cmp_1/recipients", ANSWERS);
  await user.type(await screen.findByLabelText("Code"), "INVALID");
  expect(await screen.findByText("A code is a number, such as 2004.")).toBeVisible();
  expect(screen.getByLabelText("Code")).toBeInvalid();
  expect(screen.getByRole("button", { name: /as CSV/ })).toBeDisabled();
  await user.clear(screen.getByLabelText("Code"));
  await user.type(screen.getByLabelText("Code"), "2004");
  await expect.poll(() => asked.at(-1)?.query).toEqual({ code: "2004" });
  expect(asked.some(({ query }) => query.code === "NaN")).toBe(false);
});
