/** The page of senders, as a person uses it. */
import { screen, within } from "@testing-library/react";
import { expect, test } from "vitest";
import type { Sender } from "@/api/senders";
import { refusal } from "@/testing/answers";
import { open } from "@/testing/open";
import { withPermissions } from "@/testing/person";

const AT = "2026-11-01T10:00:00Z";
const SHOP: Sender = {
  id: "snd_1",
  channel: "email",
  address: "shop@example.com",
  name: "Shop",
  reply_to: "",
  default: true,
  mailbox: "Shop <shop@example.com>",
  created_at: AT,
  updated_at: AT,
};

test("a sender is made, and what the server refuses stands beside its field", async () => {
  let tries = 0;
  const { user, asked } = open("/settings/senders", {
    "GET /v1/senders": () => ({ data: tries > 1 ? [SHOP] : [] }),
    "POST /v1/senders": () =>
      ++tries === 1 ? refusal(400, "invalid_sender", "It is no address for answers.", { field: "reply_to" }) : SHOP,
  });
  expect(await screen.findByText("No sender yet")).toBeVisible();
  await user.click((await screen.findAllByRole("button", { name: "New sender" }))[0] as HTMLElement);
  const save = screen.getByRole("button", { name: "Save the sender" });
  await user.click(save);
  expect(await screen.findByText("Enter an email address.")).toBeVisible();
  expect(asked.some(({ method }) => method === "POST")).toBe(false);
  await user.type(screen.getByLabelText("Email address"), "shop@example.com");
  await user.type(screen.getByLabelText("Name beside the address"), "Shop");
  await user.type(screen.getByLabelText("Address for answers"), "nobody");
  await user.click(screen.getByLabelText("Default sender"));
  await user.click(save);
  expect(await screen.findByText("It is no address for answers.")).toBeVisible();
  await user.clear(screen.getByLabelText("Address for answers"));
  await user.click(save);
  const row = within(await screen.findByRole("row", { name: /Shop/ }));
  expect(row.getByText("Default")).toBeVisible();
  expect(asked.findLast(({ method }) => method === "POST")?.body).toEqual({
    address: "shop@example.com",
    name: "Shop",
    reply_to: "",
    default: true,
  });
  expect(screen.queryByRole("button", { name: "Save the sender" })).toBeNull();
});

test("a sender is changed and deleted", async () => {
  const { user, asked } = open("/settings/senders", {
    "GET /v1/senders": { data: [SHOP] },
    "PATCH /v1/senders/{id}": ({ body }) => ({ ...SHOP, ...body }),
    "DELETE /v1/senders/{id}": undefined,
  });
  await user.click(await screen.findByRole("button", { name: "Change Shop <shop@example.com>" }));
  await user.type(screen.getByLabelText("Name beside the address"), "!");
  await user.click(screen.getByRole("button", { name: "Save the sender" }));
  await expect
    .poll(() => asked.find(({ method }) => method === "PATCH")?.body)
    .toEqual({ address: "shop@example.com", name: "Shop!", reply_to: "", default: true });
  expect(asked.find(({ method }) => method === "PATCH")?.headers.get("if-match")).toBe(`"${AT}"`);
  await user.click(await screen.findByRole("button", { name: "Delete Shop <shop@example.com>" }));
  const dialog = await screen.findByRole("dialog");
  expect(dialog).toHaveTextContent("Delete the sender Shop <shop@example.com>?");
  await user.click(within(dialog).getByRole("button", { name: "Delete" }));
  await expect.poll(() => asked.some(({ method }) => method === "DELETE")).toBe(true);
});

test("a sender that somebody else changes meanwhile is not overwritten unasked", async () => {
  const theirs = { ...SHOP, name: "Their shop", updated_at: "2026-11-01T10:30:00Z" };
  let now = SHOP;
  const { user, asked } = open("/settings/senders", {
    "GET /v1/senders": () => ({ data: [now] }),
    "PATCH /v1/senders/{id}": ({ headers, body }) =>
      headers.get("if-match") === `"${now.updated_at}"`
        ? { ...now, ...body }
        : refusal(412, "precondition_failed", "This was changed."),
  });
  await user.click(await screen.findByRole("button", { name: "Change Shop <shop@example.com>" }));
  await user.type(screen.getByLabelText("Address for answers"), "help@example.com");
  now = theirs;
  await user.click(screen.getByRole("button", { name: "Save the sender" }));
  expect(await screen.findByText("Somebody else has saved this in the meantime")).toBeVisible();
  expect(screen.getByText(/"name": "Their shop"/)).toBeVisible();
  await user.click(screen.getByRole("button", { name: "Take theirs" }));
  expect(screen.getByLabelText("Name beside the address")).toHaveValue("Their shop");
  await user.type(screen.getByLabelText("Name beside the address"), "!");
  await user.click(screen.getByRole("button", { name: "Save the sender" }));
  await expect.poll(() => asked.findLast(({ method }) => method === "PATCH")?.body.name).toBe("Their shop!");
});

test("senders are read by who may not change them", async () => {
  open("/settings/senders", { "GET /v1/me": withPermissions("settings.read"), "GET /v1/senders": { data: [SHOP] } });
  expect(await screen.findByText("shop@example.com")).toBeVisible();
  expect(screen.queryByRole("button", { name: "New sender" })).toBeNull();
  expect(screen.queryByRole("button", { name: /Change/ })).toBeNull();
});
