/** The pages of people, lists and imports, as a person uses them. */
import { screen, within } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import { refusal } from "@/testing/answers";
import { open } from "@/testing/open";
import { ADA, AT, PROFILE } from "@/testing/profile";

const LIST = {
  id: "lst_1",
  name: "News",
  double_opt_in: false,
  template_id: null as string | null,
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
      ...PROFILE,
    });
    expect(await screen.findByRole("heading", { name: "Nobody yet" })).toBeVisible();
    await user.click((await screen.findAllByRole("button", { name: "Add a person" }))[0] as HTMLElement);
    await user.type(screen.getByLabelText("Email"), "ada@example.com");
    await user.click(screen.getByRole("button", { name: "Add" }));
    await expect.poll(address).toBe("/people/pro_1");
    expect(asked.find(({ method }) => method === "POST")?.body).toEqual({ email: "ada@example.com" });
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
  expect(asked.find(({ method }) => method === "POST")?.body).toEqual({
    name: "News",
    double_opt_in: true,
    template_id: null,
  });
});

test("a list is renamed, and asks with a mail of its own", async () => {
  let now = LIST;
  const template = (id: string, name: string, channel: string) =>
    ({ id, name, channel, version: 1, current_version: 1, variants: [], created_at: AT, updated_at: AT }) as never;
  const { user, asked } = open("/people/lists/lst_1", {
    "GET /v1/lists/{id}": () => now,
    "GET /v1/lists/{id}/members": { data: [] },
    "GET /v1/templates": { data: [template("tpl_1", "Please confirm", "email"), template("tpl_2", "A text", "sms")] },
    "PATCH /v1/lists/{id}": ({ body }) => {
      now = { ...LIST, ...body, updated_at: "2026-11-01T09:30:00Z" };
      return now;
    },
  });
  await user.click(await screen.findByRole("button", { name: "Change" }));
  const form = within(screen.getByRole("form", { name: "About the list" }));
  await user.clear(form.getByLabelText("Name"));
  await user.click(form.getByRole("button", { name: "Save" }));
  expect(form.getByText("Give the list a name.")).toBeVisible();
  await user.type(form.getByLabelText("Name"), "Readers");
  await user.click(form.getByRole("checkbox", { name: "Double opt-in" }));
  const mail = form.getByLabelText("Mail that asks to confirm");
  await expect.poll(() => within(mail).queryByRole("option", { name: "Please confirm" })).not.toBeNull();
  expect(within(mail).queryByRole("option", { name: "A text" })).toBeNull();
  await user.selectOptions(mail, "Please confirm");
  await user.click(form.getByRole("button", { name: "Save" }));
  expect(await screen.findByRole("heading", { level: 1, name: "Readers" })).toBeVisible();
  const patch = asked.find(({ method }) => method === "PATCH");
  expect(patch?.body).toEqual({ name: "Readers", double_opt_in: true, template_id: "tpl_1" });
  expect(patch?.headers.get("if-match")).toBe(`"${AT}"`);
  expect(await screen.findByRole("link", { name: "tpl_1" })).toHaveAttribute("href", "/templates/tpl_1");
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
    await user.click((await screen.findAllByRole("button", { name: "Import a file" }))[0] as HTMLElement);
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
    await user.click((await screen.findAllByRole("button", { name: "Import a file" }))[0] as HTMLElement);
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
