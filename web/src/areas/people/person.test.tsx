/** The page of a person. */
import { screen, within } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import { open } from "@/testing/open";
import { withPermissions } from "@/testing/person";
import { ADA, AT, PROFILE, SAID } from "@/testing/profile";

const LIST = {
  id: "lst_1",
  name: "News",
  double_opt_in: false,
  template_id: null,
  members: { subscribed: 2, pending: 1, unsubscribed: 0 },
  created_at: AT,
  updated_at: AT,
};

describe("a person", () => {
  test("shows identifiers, traits, lists, and the data of what happened", async () => {
    const { user } = open("/people/pro_1", PROFILE);
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
      ...PROFILE,
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
      ...PROFILE,
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
      ...PROFILE,
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
      ...PROFILE,
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
      ...PROFILE,
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
    open("/people/pro_1", { ...PROFILE, "GET /v1/me": withPermissions("people.read") });
    expect(await screen.findByRole("region", { name: "Traits" })).toBeVisible();
    expect(screen.queryByRole("button", { name: "Erase" })).toBeNull();
    expect(screen.queryByRole("button", { name: "Change" })).toBeNull();
  });
});
