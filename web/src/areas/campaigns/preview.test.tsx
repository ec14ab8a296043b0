/** The preview of a campaign's message and its tests, for a person who is chosen. */
import { screen, within } from "@testing-library/react";
import { expect, test } from "vitest";
import type { Campaign } from "@/api/campaigns";
import { type Answers, refusal } from "@/testing/answers";
import { AT, DRAFT } from "@/testing/campaign";
import { open } from "@/testing/open";
import { ADA } from "@/testing/profile";

const TEXTS: Campaign = { ...DRAFT, channel: "sms", template_id: "tpl_1", audience: { lists: ["lst_1"] } };
const member = (id: string, email: string) => ({ profile_id: id, user_id: null, email, phone: null });
const SMS = {
  encoding: "UCS-2",
  characters: 71,
  units: 71,
  units_per_part: 67,
  per_part: [67, 4],
  parts: 2,
  forcing: ["“"],
};
const NAMES: Record<string, string> = { pro_1: "Ada", pro_2: "Alan" };
const ANSWERS: Answers = {
  "GET /v1/campaigns/{id}": TEXTS,
  "GET /v1/lists/{id}/members": {
    data: [
      { ...member("pro_1", "ada@example.com"), state: "subscribed", source: "form", changed_at: AT },
      { ...member("pro_2", "alan@example.com"), state: "subscribed", source: "form", changed_at: AT },
    ],
  },
  "GET /v1/profiles": { data: [ADA] },
  "POST /v1/campaigns/{id}/estimate": { audience: 2, reach: 2, excluded: [], approximate: false, missing: [] },
  "POST /v1/campaigns/{id}/preview": ({ body }) => ({
    variant: "default",
    content: { text: `Hi ${NAMES[body.profile_id] ?? "⟦person.first_name⟧"}` },
    undefined: [],
    sms: SMS,
  }),
  "POST /v1/campaigns/{id}/test": { data: [], accepted: 1, rejected: 0 },
};

test("the preview is that of a person of the audience, and the test goes out as it shows", async () => {
  const { user, asked } = open("/campaigns/cmp_1/edit?step=review", ANSWERS);
  const preview = within(await screen.findByRole("region", { name: "Preview" }));
  expect(await preview.findByText("Hi ⟦person.first_name⟧")).toBeVisible();
  expect(preview.getByText(/As somebody of whom nothing is known/)).toBeVisible();
  // A text costs as many messages as it has parts.
  expect(preview.getByText("UCS-2")).toBeVisible();
  expect(preview.getByText("71 of 67 in a part")).toBeVisible();
  expect(preview.getByText(/These characters make it UCS-2.*“/)).toBeVisible();
  await user.click(await preview.findByRole("button", { name: "alan@example.com" }));
  expect(await preview.findByText("Hi Alan")).toBeVisible();
  expect(preview.getByText("As alan@example.com gets it")).toBeVisible();
  await user.type(screen.getByLabelText("Addresses, separated by commas"), "+4915112345678");
  await user.click(screen.getByRole("button", { name: "Send the test" }));
  await expect
    .poll(() => asked.find(({ path }) => path.endsWith("/test"))?.body)
    .toEqual({ to: ["+4915112345678"], profile_id: "pro_2" });
});

test("somebody else is found by an identifier, and Enter saves nothing", async () => {
  const { user, asked } = open("/campaigns/cmp_1/edit?step=content", {
    ...ANSWERS,
    "GET /v1/templates": { data: [] },
    "GET /v1/lists/{id}/members": refusal(404, "not_found", "The list is gone."),
  });
  const preview = within(await screen.findByRole("region", { name: "Preview" }));
  await user.type(await preview.findByLabelText("For the person"), "ada{Enter}");
  expect(await preview.findByText("Hi Ada")).toBeVisible();
  expect(asked.some(({ method }) => method === "PATCH")).toBe(false);
  expect(asked.find(({ path }) => path === "/v1/profiles")?.query).toEqual({ query: "ada" });
});
