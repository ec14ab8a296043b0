/** The page of the API and its connectors. */
import { screen } from "@testing-library/react";
import { expect, test } from "vitest";
import { open } from "@/testing/open";
import { withPermissions } from "@/testing/person";

test("a webhook for opens is one click away, with its format and type chosen", async () => {
  const { user } = open("/settings/api", {
    "GET /v1/event-types": {
      data: [{ type: "email.opened", metric: null, description: "Opened.", schema: {}, example: {} }],
    },
    "GET /v1/webhook-formats": { data: [{ id: "pinpointe", name: "Pinpointe" }] as never },
  });
  await user.click(await screen.findByRole("link", { name: "Opens" }));
  expect(await screen.findByRole("checkbox", { name: "email.opened" })).toBeChecked();
  await screen.findByRole("option", { name: "Pinpointe" });
  expect(screen.getByLabelText("Format")).toHaveValue("pinpointe");
});

test("those who may only look are led to what there is", async () => {
  open("/settings/api", { "GET /v1/me": withPermissions("webhooks.read") });
  expect(await screen.findByRole("link", { name: "All webhooks" })).toBeVisible();
  expect(screen.queryByRole("link", { name: "Add a Webhook" })).not.toBeInTheDocument();
  expect(screen.queryByRole("link", { name: "Connections", hidden: false })).not.toBeInTheDocument();
});
