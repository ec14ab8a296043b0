/** The pages of people, lists and imports, as a person uses them. */
import { screen, within } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import { refusal } from "@/testing/answers";
import { open } from "@/testing/open";
import { withPermissions } from "@/testing/person";

const AT = "2026-11-01T09:00:00Z";
const ADA = {
  id: "pro_1",
  user_id: "u-1",
  email: "ada@example.com",
  phone: "+4915112345678",
  user_ids: ["u-1"],
  anonymous_ids: [],
  emails: ["ada@example.com"],
  phones: ["+4915112345678"],
  traits: { plan: "pro" } as never,
  tags: ["vip"],
  created_at: AT,
  updated_at: AT,
  merged_ids: [],
};
const SAID = { source: "form", changed_at: AT, proof: null };
const PERSON = {
  "GET /v1/profiles/{id}": ADA,
  "GET /v1/lists": { data: [] },
  "GET /v1/profiles/{id}/lists": {
    data: [{ id: "lst_1", name: "News", state: "subscribed", source: "form", changed_at: AT }],
  },
  "GET /v1/profiles/{id}/subscriptions/email": {
    data: [{ channel: "email", address: "ada@example.com", state: "subscribed", ...SAID }],
  },
  "GET /v1/profiles/{id}/subscriptions/sms": {
    data: [{ channel: "sms", address: "+4915112345678", state: null, source: null, changed_at: null, proof: null }],
  },
  "GET /v1/profiles/{id}/events": {
    data: [
      {
        id: "evt_1",
        type: "track",
        message_id: "m1",
        profile_id: "pro_1",
        occurred_at: AT,
        received_at: AT,
        data: { event: "Order Completed", properties: { total: 42 } },
      },
    ],
  },
} as never;
const LIST = {
  id: "lst_1",
  name: "News",
  double_opt_in: false,
  template_id: null,
  members: { subscribed: 2, pending: 1, unsubscribed: 0 },
  created_at: AT,
  updated_at: AT,
};
const IMPORT = {
  id: "imp_1",
  state: "done",
  reason: null,
  detail: null,
  dry_run: true,
  list_id: null,
  source: "fair",
  rows: 3,
  imported: 2,
  rejected: 1,
  created: 2,
  bytes: 100,
  bytes_read: 100,
  format: "csv",
  encoding: "utf-8",
  delimiter: ",",
  columns: [
    { name: "E-Mail", target: "email" },
    { name: "Age", target: "traits.Age" },
  ],
  created_at: AT,
  updated_at: AT,
  ended_at: AT,
};

describe("people", () => {
  test("are found by what an identifier begins with, and the search stands in the address", async () => {
    const { user, asked, address } = open("/people", { "GET /v1/profiles": { data: [ADA] } });
    expect(await screen.findByRole("link", { name: "ada@example.com" })).toHaveAttribute("href", "/people/pro_1");
    await user.type(screen.getByLabelText("Email, phone or user ID"), "ada");
    await expect.poll(address).toBe("/people?query=ada");
    await expect.poll(() => asked.some(({ query }) => query.query === "ada")).toBe(true);
  });

  test("a person is added by an address, and opened", async () => {
    const { user, asked, address } = open("/people", {
      "GET /v1/profiles": { data: [] },
      "POST /v1/profiles": ADA,
      ...(PERSON as object),
    });
    expect(await screen.findByRole("heading", { name: "Nobody yet" })).toBeVisible();
    await user.click(screen.getByRole("button", { name: "Add a person" }));
    await user.type(screen.getByLabelText("Email"), "ada@example.com");
    await user.click(screen.getByRole("button", { name: "Add" }));
    await expect.poll(address).toBe("/people/pro_1");
    expect(asked.find(({ method }) => method === "POST")?.body).toEqual({ email: "ada@example.com" });
  });
});

describe("a person", () => {
  test("shows identifiers, traits, lists, and the data of what happened", async () => {
    const { user } = open("/people/pro_1", PERSON);
    expect(await screen.findByRole("heading", { level: 1, name: "ada@example.com" })).toBeVisible();
    expect(screen.getByRole("region", { name: "Traits" })).toHaveTextContent("pro");
    const lists = within(screen.getByRole("region", { name: "On lists" }));
    expect(await lists.findByRole("link", { name: "News" })).toHaveAttribute("href", "/people/lists/lst_1");
    const timeline = within(screen.getByRole("region", { name: "Timeline" }));
    await user.click(await timeline.findByRole("button", { name: /Show the data of Order Completed/ }));
    expect(screen.getByRole("region", { name: "Data of Order Completed · track" })).toHaveTextContent('"total": 42');
  });

  test("is unsubscribed, tagged and untagged, and gets a trait", async () => {
    const { user, asked } = open("/people/pro_1", {
      ...(PERSON as object),
      "PUT /v1/profiles/{id}/subscriptions/{channel}": {
        channel: "email",
        address: "ada@example.com",
        state: "unsubscribed",
        effective: true,
        ...SAID,
      } as never,
      "PUT /v1/profiles/{id}/tags/{tag}": ADA,
      "DELETE /v1/profiles/{id}/tags/{tag}": undefined,
      "PATCH /v1/profiles/{id}": ADA,
    });
    await user.click(await screen.findByRole("button", { name: "Unsubscribe ada@example.com from email" }));
    await user.click(screen.getByRole("button", { name: "Remove the tag vip" }));
    await user.type(screen.getByLabelText("New tag"), "early");
    await user.click(screen.getByRole("button", { name: "Add the tag" }));
    await user.click(screen.getByRole("button", { name: "Change" }));
    const traits = screen.getByLabelText("Traits as JSON");
    await user.clear(traits);
    await user.type(traits, '{{"plan": "free"}');
    await user.click(screen.getByRole("button", { name: "Save" }));
    await expect.poll(() => asked.find(({ method }) => method === "PATCH")?.body).toEqual({ traits: { plan: "free" } });
    expect(asked.find(({ method }) => method === "PATCH")?.headers.get("if-match")).toBe(`"${AT}"`);
    const sent = asked.find(({ path }) => path === "/v1/profiles/pro_1/subscriptions/email" && path)?.path;
    expect(sent).toBeDefined();
    expect(asked.find(({ method, path }) => method === "PUT" && path.includes("subscriptions"))?.body).toEqual({
      state: "unsubscribed",
      address: "ada@example.com",
      source: "ada@example.com",
    });
    expect(asked.some(({ method, path }) => method === "PUT" && path.endsWith("/tags/early"))).toBe(true);
    expect(asked.some(({ method, path }) => method === "DELETE" && path.endsWith("/tags/vip"))).toBe(true);
  });

  test("keeps what is typed while events change it, and only what was typed is sent", async () => {
    let now: typeof ADA = { ...ADA, traits: { plan: "pro", seen: 1 } as never };
    const { user, asked, queries } = open("/people/pro_1", {
      ...(PERSON as object),
      "GET /v1/profiles/{id}": () => now,
      "PATCH /v1/profiles/{id}": ({ body }) => ({ ...now, ...body, updated_at: "2026-11-01T09:31:00Z" }),
    });
    await user.click(await screen.findByRole("button", { name: "Change" }));
    const traits = screen.getByLabelText("Traits as JSON");
    await user.clear(traits);
    await user.type(traits, '{{"plan": "free", "seen": 1}');
    now = { ...ADA, traits: { plan: "pro", seen: 2 } as never, updated_at: "2026-11-01T09:30:00Z" };
    await queries.invalidateQueries();
    expect(await screen.findByText("Somebody else has saved this in the meantime")).toBeVisible();
    expect(screen.getByLabelText("Traits as JSON")).toHaveValue('{"plan": "free", "seen": 1}');
    await user.click(screen.getByRole("button", { name: "Keep mine" }));
    await user.click(screen.getByRole("button", { name: "Save" }));
    const patch = () => asked.find(({ method }) => method === "PATCH");
    // What an event said meanwhile is not taken back.
    await expect.poll(() => patch()?.body).toEqual({ traits: { plan: "free" } });
    expect(patch()?.headers.get("if-match")).toBe('"2026-11-01T09:30:00Z"');
  });

  test("has a form that stays open while events change the person", async () => {
    let now = ADA;
    const { user, queries } = open("/people/pro_1", {
      ...(PERSON as object),
      "GET /v1/profiles/{id}": () => now,
    });
    await user.click(await screen.findByRole("button", { name: "Change" }));
    now = { ...ADA, traits: { plan: "gold" } as never, updated_at: "2026-11-01T09:30:00Z" };
    await queries.invalidateQueries();
    await expect.poll(() => screen.getByLabelText<HTMLInputElement>("Traits as JSON").value).toContain("gold");
  });

  test("gets an identifier, and becomes one with who has it", async () => {
    const both = { ...ADA, id: "pro_0", emails: ["ada@example.com", "ada@work.example"], merged_ids: ["pro_1"] };
    const { user, asked, address } = open("/people/pro_1", {
      ...(PERSON as object),
      "GET /v1/profiles/{id}": ({ params }) => (params.id === "pro_0" ? both : ADA),
      "PATCH /v1/profiles/{id}": both,
    });
    await user.click(await screen.findByRole("button", { name: "Add an identifier" }));
    const form = within(screen.getByRole("form", { name: "Add an identifier" }));
    await user.type(form.getByLabelText("Email"), "ada@work.example");
    await user.click(form.getByRole("button", { name: "Add" }));
    await expect
      .poll(() => asked.find(({ method }) => method === "PATCH")?.body)
      .toEqual({ email: "ada@work.example" });
    await expect.poll(address).toBe("/people/pro_0");
    expect(await screen.findByText("ada@work.example")).toBeVisible();
  });

  test("is added to a list that they are not on", async () => {
    const others = [
      { ...LIST, id: "lst_1", name: "News" },
      { ...LIST, id: "lst_2", name: "Offers" },
    ];
    const { user, asked } = open("/people/pro_1", {
      ...(PERSON as object),
      "GET /v1/lists": { data: others },
      "POST /v1/lists/{id}/members": { data: [{ profile_id: "pro_1", state: "pending" }], changed: 1, unknown: 0 },
    });
    const form = within(await screen.findByRole("form", { name: "Add to the list" }));
    expect(form.queryByRole("option", { name: "News" })).toBeNull();
    await user.selectOptions(form.getByLabelText("List"), "Offers");
    await user.click(form.getByRole("button", { name: "Add to the list" }));
    expect((await screen.findAllByText(/Offers has double opt-in/))[0]).toBeInTheDocument();
    const sent = asked.find(({ method }) => method === "POST");
    expect([sent?.path, sent?.body]).toEqual(["/v1/lists/lst_2/members", { people: [{ profile_id: "pro_1" }] }]);
  });

  test("is changed by nobody who may only read", async () => {
    open("/people/pro_1", { ...(PERSON as object), "GET /v1/me": withPermissions("people.read") });
    expect(await screen.findByRole("region", { name: "Traits" })).toBeVisible();
    expect(screen.queryByRole("button", { name: "Erase" })).toBeNull();
    expect(screen.queryByRole("button", { name: "Change" })).toBeNull();
  });
});

test("members of a list are filtered by state, added and removed", async () => {
  const member = { profile_id: "pro_1", user_id: null, email: "ada@example.com", phone: null, source: "form" };
  const { user, asked, address } = open("/people/lists/lst_1", {
    "GET /v1/lists/{id}": LIST,
    "GET /v1/lists/{id}/members": { data: [{ ...member, state: "subscribed", changed_at: AT }] },
    "POST /v1/lists/{id}/members": { data: [], changed: 2, unknown: 1 },
    "POST /v1/lists/{id}/members/remove": { data: [], changed: 1, unknown: 0 },
  });
  expect(await screen.findByRole("heading", { level: 1, name: "News" })).toBeVisible();
  await user.click(screen.getByRole("button", { name: "Add people" }));
  await user.type(screen.getByLabelText(/one a line/), "ada@example.com\n+49 151 1234567\nu-7");
  await user.click(screen.getByRole("button", { name: "Add" }));
  expect((await screen.findAllByText("2 people were added. One is unknown."))[0]).toBeInTheDocument();
  expect(asked.find(({ method }) => method === "POST")?.body).toEqual({
    people: [{ email: "ada@example.com" }, { phone: "+49 151 1234567" }, { user_id: "u-7" }],
  });
  await user.click(screen.getByRole("button", { name: "Remove ada@example.com from the list" }));
  await expect
    .poll(() => asked.find(({ path }) => path.endsWith("/remove"))?.body)
    .toEqual({ people: [{ profile_id: "pro_1" }], unsubscribe: false });
  await user.selectOptions(screen.getByLabelText("State"), "pending");
  await expect.poll(address).toBe("/people/lists/lst_1?state=pending");
});

test("a list is made", async () => {
  const { user, asked, address } = open("/people/lists", {
    "GET /v1/lists": { data: [LIST] },
    "POST /v1/lists": LIST,
    "GET /v1/lists/{id}": LIST,
    "GET /v1/lists/{id}/members": { data: [] },
  });
  await user.click(await screen.findByRole("button", { name: "New list" }));
  await user.type(screen.getByLabelText("Name"), "News");
  await user.click(screen.getByRole("checkbox", { name: "Double opt-in" }));
  await user.click(screen.getByRole("button", { name: "Create the list" }));
  await expect.poll(address).toBe("/people/lists/lst_1");
  expect(asked.find(({ method }) => method === "POST")?.body).toEqual({ name: "News", double_opt_in: true });
});

describe("an import", () => {
  const CSV = new File(["E-Mail,Age\nada@example.com,36\n"], "people.csv", { type: "text/csv" });

  test("is checked, corrected, checked again and started", async () => {
    const { user, asked, address } = open("/people/imports", {
      "GET /v1/imports": { data: [] },
      "GET /v1/lists": { data: [LIST] },
      "POST /v1/imports": { id: "imp_1", state: "running" },
      "GET /v1/imports/{id}": IMPORT,
    });
    await user.click(await screen.findByRole("button", { name: "Import a file" }));
    await user.click(screen.getByRole("button", { name: "Check the file" }));
    expect(await screen.findByText("Choose a file.")).toBeVisible();
    await user.upload(document.querySelector("input[type=file]") as HTMLInputElement, CSV);
    await user.type(screen.getByLabelText("Source"), "fair");
    await user.click(screen.getByRole("button", { name: "Check the file" }));
    expect(await screen.findByText(/3 rows: 2 can be imported, 1 is rejected/)).toBeVisible();
    await user.selectOptions(screen.getByLabelText("The column Age becomes"), "Trait Age, a number");
    expect(screen.getByText(/The mapping changed/)).toBeVisible();
    await user.click(screen.getByRole("button", { name: "Check again" }));
    await user.click(await screen.findByRole("button", { name: "Import 2 rows" }));
    await expect.poll(address).toBe("/people/imports/imp_1");
    const sent = asked.filter(({ method, path }) => method === "POST" && path === "/v1/imports");
    expect(sent.map(({ query }) => query)).toEqual([
      { dry_run: "true", source: "fair" },
      { dry_run: "true", source: "fair", map: '{"Age":"traits.Age:number"}' },
      { dry_run: "false", source: "fair", map: '{"Age":"traits.Age:number"}' },
    ]);
    expect(sent[0]?.headers.get("content-type")).toBe("text/csv");
  });

  test("of a file without a known column asks which column is which", async () => {
    const { user, asked } = open("/people/imports", {
      "GET /v1/imports": { data: [] },
      "GET /v1/lists": { data: [] },
      "POST /v1/imports": refusal(400, "no_identifier_column", "No column has addresses.", {
        columns: ["Kontakt", "Age"],
      }),
    });
    await user.click(await screen.findByRole("button", { name: "Import a file" }));
    await user.upload(document.querySelector("input[type=file]") as HTMLInputElement, CSV);
    await user.type(screen.getByLabelText("Source"), "fair");
    await user.click(screen.getByRole("button", { name: "Check the file" }));
    expect(await screen.findByText("No column has addresses.")).toBeVisible();
    await user.selectOptions(screen.getByLabelText("The column Kontakt becomes"), "Email");
    expect(screen.getByLabelText("The column Kontakt becomes")).toHaveValue("email");
    // Nothing was said about the other column, so it is not ignored.
    const other = screen.getByLabelText("The column Age becomes");
    expect(other).toHaveDisplayValue("What its name says");
    await user.selectOptions(other, "Ignore it");
    await user.click(screen.getByRole("button", { name: "Check the file" }));
    await expect
      .poll(() => asked.filter(({ method }) => method === "POST").at(-1)?.query.map)
      .toBe('{"Kontakt":"email","Age":null}');
    await user.selectOptions(screen.getByLabelText("The column Age becomes"), "What its name says");
    await user.click(screen.getByRole("button", { name: "Check the file" }));
    await expect
      .poll(() => asked.filter(({ method }) => method === "POST").at(-1)?.query.map)
      .toBe('{"Kontakt":"email"}');
  });

  test("that runs can be stopped", async () => {
    const { user, asked } = open("/people/imports/imp_1", {
      "GET /v1/imports/{id}": { ...IMPORT, dry_run: false, state: "running", bytes_read: 50 },
      "POST /v1/imports/{id}/cancel": IMPORT,
    });
    expect(await screen.findByText("50% read")).toBeVisible();
    expect(screen.getByRole("button", { name: "Download the rejected rows" })).toBeVisible();
    await user.click(screen.getByRole("button", { name: "Stop the import" }));
    await expect.poll(() => asked.some(({ path }) => path.endsWith("/cancel"))).toBe(true);
  });
});
