/** The pages of segments, as a person uses them. */
import { screen, within } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import { type Answers, refusal } from "@/testing/answers";
import { open } from "@/testing/open";
import { withPermissions } from "@/testing/person";
import { readCondition, writeCondition } from "./condition";

const AT = "2026-11-01T09:00:00Z";
const CONDITION = { all: [{ trait: "plan", is: "pro" }, { any: [{ tag: "vip" }, { not: { list: "lst_1" } }] }] };
const SEGMENT = {
  id: "seg_1",
  name: "Buyers",
  condition: CONDITION as never,
  version: 1,
  tracked: true,
  complete: true,
  created_at: AT,
  updated_at: AT,
};
const ADA = { id: "pro_1", user_id: null, email: "ada@example.com", phone: null, traits: {} as never };
const ANSWERS: Answers = {
  "GET /v1/lists": { data: [] },
  "GET /v1/tags": { data: [] },
  "GET /v1/metrics": { data: [] },
  "GET /v1/segments": { data: [SEGMENT] },
  "GET /v1/segments/{id}": SEGMENT,
  "POST /v1/segments/preview": { count: 1240, approximate: false, sample: [ADA] },
};

describe("a condition", () => {
  test.each([
    CONDITION,
    {
      any: [
        { trait: "age", gte: 18 },
        { trait: "city", in: ["Berlin", "Köln"] },
        { trait: "zip", is: '"x"' },
      ],
    },
    {
      all: [
        { trait: "code", is: "42" },
        { trait: "gone", exists: false },
        { trait: "born", before: "30d ago" },
      ],
    },
    { all: [{ event: "Order", at_least: 2, within: "30d", where: { total: { gt: 50 }, currency: "EUR" } }] },
    { not: { all: [{ event: "Order", at_most: 0 }, { subscribed: "sms" }, { segment: "seg_2" }] } },
    {
      all: [{ trait: "age", gte: 18, lt: 65 }, { event: "Order", since: "2026-01-01" }, { not: { not: { tag: "a" } } }],
    },
  ])("%j is the same after a walk through the builder", (condition) => {
    expect(writeCondition(readCondition(condition))).toEqual(condition);
  });
});

test("who may only read sees the condition and changes nothing of it", async () => {
  const { user } = open("/segments/seg_1", { ...ANSWERS, "GET /v1/me": withPermissions("people.read") });
  expect(await screen.findByDisplayValue("pro")).toBeDisabled();
  for (const field of within(screen.getByRole("form", { name: "Condition" })).getAllByRole("combobox")) {
    expect(field).toBeDisabled();
  }
  expect(screen.getByRole("button", { name: "Add a condition" })).toBeDisabled();
  await user.click(screen.getByRole("radio", { name: "JSON" }));
  expect(screen.getByLabelText(/^Condition as JSON/)).toBeDisabled();
});

test("segments are listed", async () => {
  open("/segments", ANSWERS);
  expect(await screen.findByRole("link", { name: "Buyers" })).toHaveAttribute("href", "/segments/seg_1");
  expect(screen.getByRole("link", { name: "New segment" })).toHaveAttribute("href", "/segments/new");
});

test("a segment is made of sentences, with a live count", async () => {
  const { user, asked, address } = open("/segments/new", { ...ANSWERS, "POST /v1/segments": SEGMENT });
  await user.type(await screen.findByLabelText("Name"), "Buyers");
  await user.selectOptions(screen.getByLabelText("What it is about"), "Event");
  await user.type(screen.getByLabelText("Name of the event"), "Order Shipped");
  await user.clear(screen.getByLabelText("Times"));
  await user.type(screen.getByLabelText("Times"), "2");
  await user.selectOptions(screen.getByLabelText("When"), "in the last");
  await user.click(screen.getByRole("button", { name: "Add a test of a property" }));
  await user.type(screen.getByLabelText("Property"), "total");
  await user.selectOptions(screen.getByLabelText("Test"), "is more than");
  await user.type(screen.getByLabelText("Value"), "50");
  const order = { event: "Order Shipped", at_least: 2, within: "30d", where: { total: { gt: 50 } } };
  expect(await screen.findByText("1,240 people fit")).toBeVisible();
  await expect
    .poll(() => asked.findLast(({ path }) => path.endsWith("/preview"))?.body)
    .toEqual({ condition: { all: [order] } });
  await user.click(screen.getByRole("button", { name: "Create the segment" }));
  await expect.poll(address).toBe("/segments/seg_1");
  expect(asked.find(({ method, path }) => method === "POST" && path === "/v1/segments")?.body).toEqual({
    name: "Buyers",
    tracked: true,
    condition: { all: [order] },
  });
});

test("rows are moved, negated, doubled and removed by buttons", async () => {
  const { user, asked } = open("/segments/seg_1", { ...ANSWERS, "PATCH /v1/segments/{id}": SEGMENT });
  const inner = within(await screen.findByRole("group", { name: "Group 2" }));
  expect(inner.getByRole("button", { name: "Negate condition 2.2" })).toHaveAttribute("aria-pressed", "true");
  await user.click(screen.getByRole("button", { name: "Move condition 2 up" }));
  await user.click(screen.getByRole("button", { name: "Negate condition 2" }));
  await user.click(screen.getByRole("button", { name: "Duplicate condition 1.1" }));
  await user.click(screen.getByRole("button", { name: "Remove condition 1.3" }));
  await user.click(screen.getByRole("button", { name: "Save" }));
  await expect
    .poll(() => asked.find(({ method }) => method === "PATCH")?.body.condition)
    .toEqual({ all: [{ any: [{ tag: "vip" }, { tag: "vip" }] }, { not: { trait: "plan", is: "pro" } }] });
});

test("the JSON of a condition is changed, and shows in the builder", async () => {
  const { user } = open("/segments/seg_1", ANSWERS);
  await user.click(await screen.findByRole("radio", { name: "JSON" }));
  const json = screen.getByLabelText("Condition as JSON");
  expect(JSON.parse((json as HTMLTextAreaElement).value)).toEqual(CONDITION);
  await user.clear(json);
  await user.type(json, "{{");
  expect(await screen.findByText(/This is not a JSON object/)).toBeVisible();
  await user.clear(json);
  await user.paste('{"any": [{"trait": "plan", "is": "free"}]}');
  await user.click(screen.getByRole("radio", { name: "Builder" }));
  expect(screen.getByLabelText("Name of the trait")).toHaveValue("plan");
  expect(screen.getByLabelText("Value")).toHaveValue("free");
  expect(screen.getByLabelText("Which of them must hold")).toHaveValue("any");
});

test("what the server refuses is said, and the segment of another one cannot be deleted", async () => {
  const { user } = open("/segments/seg_1", {
    ...ANSWERS,
    "POST /v1/segments/preview": refusal(400, "unknown_list", "There is no list lst_1."),
    "DELETE /v1/segments/{id}": refusal(409, "segment_in_use", "The segment Others names it."),
  });
  expect(await screen.findByText("There is no list lst_1.")).toBeVisible();
  await user.click(screen.getByRole("button", { name: "Delete" }));
  await user.click(within(await screen.findByRole("dialog")).getByRole("button", { name: "Delete" }));
  expect((await screen.findAllByText("The segment Others names it."))[0]).toBeInTheDocument();
});

test("members are listed", async () => {
  open("/segments/seg_1/members", { ...ANSWERS, "GET /v1/segments/{id}/members": { data: [ADA] } });
  expect(await screen.findByRole("link", { name: "ada@example.com" })).toHaveAttribute("href", "/people/pro_1");
});

describe("a segment that somebody else has saved meanwhile", () => {
  const THEIRS = { ...SEGMENT, name: "Theirs", version: 2, updated_at: "2026-11-01T09:30:00Z" };
  const name = () => screen.findByRole("textbox", { name: "Name" });

  test("is shown at once where nothing was typed", async () => {
    let now = SEGMENT;
    const { queries } = open("/segments/seg_1", { ...ANSWERS, "GET /v1/segments/{id}": () => now });
    expect(await name()).toHaveValue("Buyers");
    now = THEIRS;
    await queries.invalidateQueries();
    await expect.poll(async () => ((await name()) as HTMLInputElement).value).toBe("Theirs");
    expect(screen.queryByText("Somebody else has saved this in the meantime")).toBeNull();
  });

  test("does not take away what was typed, and is not overwritten unasked", async () => {
    let now = SEGMENT;
    const { user, queries, asked } = open("/segments/seg_1", {
      ...ANSWERS,
      "GET /v1/segments/{id}": () => now,
      "PATCH /v1/segments/{id}": ({ body }) => ({ ...THEIRS, ...body, updated_at: "2026-11-01T09:31:00Z" }),
    });
    await user.type(await name(), "!");
    now = THEIRS;
    await queries.invalidateQueries();
    expect(await screen.findByText("Somebody else has saved this in the meantime")).toBeVisible();
    expect(screen.getByText(/"name": "Theirs"/)).toBeVisible();
    expect(await name()).toHaveValue("Buyers!");
    await user.click(screen.getByRole("button", { name: "Keep mine" }));
    expect(screen.queryByText("Somebody else has saved this in the meantime")).toBeNull();
    await user.click(screen.getByRole("button", { name: "Save" }));
    expect((await screen.findAllByText("The segment is saved."))[0]).toBeInTheDocument();
    const patches = () => asked.filter(({ method }) => method === "PATCH");
    expect(patches()[0]?.body.name).toBe("Buyers!");
    expect(patches()[0]?.headers.get("if-match")).toBe('"2026-11-01T09:30:00Z"');
    // The next change is made to what this page has just saved, although the server was not asked for it again.
    await user.type(await name(), "?");
    await user.click(screen.getByRole("button", { name: "Save" }));
    await expect.poll(() => patches()[1]?.headers.get("if-match")).toBe('"2026-11-01T09:31:00Z"');
  });

  test("is found out when saving, and can be taken", async () => {
    let now = SEGMENT;
    const { user } = open("/segments/seg_1", {
      ...ANSWERS,
      "GET /v1/segments/{id}": () => now,
      "PATCH /v1/segments/{id}": () => {
        now = THEIRS;
        return refusal(412, "precondition_failed", "This was changed.");
      },
    });
    await user.type(await name(), "!");
    await user.click(screen.getByRole("button", { name: "Save" }));
    expect(await screen.findByText("This was changed.")).toBeVisible();
    await user.click(await screen.findByRole("button", { name: "Take theirs" }));
    expect(await name()).toHaveValue("Theirs");
    expect(screen.queryByText("This was changed.")).toBeNull();
  });
});
