/** The page of suppressions, and what the page of a person says of them. */
import { screen, within } from "@testing-library/react";
import { expect, test } from "vitest";
import type { Suppression } from "@/api/suppressions";
import { refusal } from "@/testing/answers";
import { open } from "@/testing/open";
import { withPermissions } from "@/testing/person";
import { AT, PROFILE } from "@/testing/profile";

const BOUNCED: Suppression = {
  channel: "email",
  address: "ada@example.com",
  reason: "bounced",
  connection_id: "con_1",
  detail: "550 no such user",
  created_at: AT,
};
const LEGAL: Suppression = { ...BOUNCED, channel: "sms", address: "+4915112345678", reason: "legal", detail: null };

test("suppressions are listed with their reasons, and found by address and channel", async () => {
  const { user, asked, address } = open("/people/suppressions", {
    "GET /v1/suppressions": { data: [BOUNCED, { ...LEGAL, connection_id: null }] },
  });
  const table = within(await screen.findByRole("table", { name: "Suppressions" }));
  const row = within(table.getByRole("row", { name: /ada@example.com/ }));
  expect(row.getByText("bounced")).toBeVisible();
  expect(row.getByText("550 no such user")).toBeVisible();
  expect(row.getByRole("link", { name: "a provider" })).toHaveAttribute("href", "/connections/con_1");
  expect(table.getByRole("row", { name: /\+49.*sms legal by hand/ })).toBeVisible();
  await user.type(screen.getByLabelText("Address"), "ada@example.com");
  await expect.poll(address).toBe("/people/suppressions?address=ada%40example.com");
  await user.selectOptions(screen.getByLabelText("Channel"), "email");
  await expect.poll(address).toBe("/people/suppressions?address=ada%40example.com&channel=email");
  await expect
    .poll(() => asked.some(({ query }) => query.address === "ada@example.com" && query.channel === "email"))
    .toBe(true);
});

test("an address is suppressed with a reason, and the suppression is lifted after the reason was read", async () => {
  const { user, asked } = open("/people/suppressions", {
    "GET /v1/suppressions": { data: [BOUNCED] },
    "POST /v1/suppressions": ({ body }) =>
      body.address === "nobody" ? refusal(400, "invalid_address", "No address.", { field: "address" }) : LEGAL,
    "DELETE /v1/suppressions": undefined,
  });
  await user.click(await screen.findByRole("button", { name: "Suppress an address" }));
  const form = within(screen.getByRole("form", { name: "Suppress an address" }));
  await user.selectOptions(form.getByLabelText("Channel"), "sms");
  await user.type(form.getByLabelText("Address"), "nobody");
  await user.clear(form.getByLabelText("Reason"));
  await user.type(form.getByLabelText("Reason"), "Legal!");
  await user.click(form.getByRole("button", { name: "Suppress an address" }));
  expect(form.getByText(/Use lower-case letters/)).toBeVisible();
  await user.clear(form.getByLabelText("Reason"));
  await user.type(form.getByLabelText("Reason"), "legal");
  await user.click(form.getByRole("button", { name: "Suppress an address" }));
  expect(await form.findByText("No address.")).toBeVisible();
  await user.clear(form.getByLabelText("Address"));
  await user.type(form.getByLabelText("Address"), "+49 151 12345678");
  await user.click(form.getByRole("button", { name: "Suppress an address" }));
  expect((await screen.findAllByText("+4915112345678 is suppressed."))[0]).toBeInTheDocument();
  expect(asked.filter(({ method }) => method === "POST").at(-1)?.body).toEqual({
    channel: "sms",
    address: "+49 151 12345678",
    reason: "legal",
  });
  await user.click(screen.getByRole("button", { name: "Lift the suppression of ada@example.com, email" }));
  const dialog = within(await screen.findByRole("dialog"));
  expect(dialog.getByText(/with the reason “bounced”/)).toBeVisible();
  await user.click(dialog.getByRole("button", { name: "Lift" }));
  await expect
    .poll(() => asked.find(({ method }) => method === "DELETE")?.query)
    .toEqual({ channel: "email", address: "ada@example.com" });
});

test("who may only read lifts nothing", async () => {
  open("/people/suppressions", {
    "GET /v1/me": withPermissions("people.read"),
    "GET /v1/suppressions": { data: [BOUNCED] },
  });
  expect(await screen.findByRole("link", { name: "ada@example.com" })).toBeVisible();
  expect(screen.queryByRole("button", { name: /Lift|Suppress/ })).toBeNull();
});

test("the page of a person says which address is suppressed, and why", async () => {
  const { asked } = open("/people/pro_1", {
    ...PROFILE,
    "GET /v1/suppressions": { data: [BOUNCED] },
  });
  const badge = await screen.findByRole("link", { name: "Suppressed: bounced" });
  expect(badge).toHaveAttribute("href", "/people/suppressions?address=ada%40example.com&channel=email");
  expect(badge.closest("tr")).toHaveTextContent("ada@example.com");
  expect(asked.find(({ path }) => path === "/v1/suppressions")?.query).toEqual({ profile_id: "pro_1" });
});

test("the palette finds the page", async () => {
  const { user, address } = open("/segments", {
    "GET /v1/profiles": { data: [] },
    "GET /v1/segments": { data: [] },
    "GET /v1/suppressions": { data: [] },
  });
  await screen.findByRole("heading", { level: 1 });
  await user.keyboard("{Control>}k{/Control}");
  await user.type(await screen.findByRole("combobox"), "suppr");
  await user.click(await screen.findByRole("option", { name: /Suppressions/ }));
  await expect.poll(address).toBe("/people/suppressions");
});
