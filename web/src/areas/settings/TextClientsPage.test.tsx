/** The page of text clients, as a person uses it. */
import { screen } from "@testing-library/react";
import { expect, test } from "vitest";
import type { TextClient } from "@/api/textClients";
import { open } from "@/testing/open";

const AT = "2026-11-01T10:00:00Z";
const CLIENT: TextClient = {
  id: "tcl_1",
  name: "Birthday flow",
  client_id: "wtc_1",
  callback: null,
  endpoint_id: null,
  rate_limit: 100,
  check_links: "now",
  utm: null,
  connection_id: null,
  default_metric: "Text Message Status",
  max_matches: 1,
  secrets: 1,
  created_at: AT,
  updated_at: AT,
};

test("a text client is made with a callback, and its headers are shown once", async () => {
  const { user, asked } = open("/settings/texts", {
    "GET /v1/text-clients": { data: [] },
    "GET /v1/connections": { data: [] },
    "POST /v1/text-clients": { ...CLIENT, client_secret: "wts_secret" },
  });
  await user.click(await screen.findByRole("button", { name: "New text client" }));
  await user.click(screen.getByLabelText("Name"));
  await user.paste("Birthday flow");
  await user.selectOptions(screen.getByLabelText("Callback"), "A URL");
  await user.click(screen.getByLabelText("URL of the callback"));
  await user.paste("https://example.com/texts");
  await user.click(screen.getByRole("button", { name: "Create the client" }));
  expect(await screen.findByText(/X-Client-Secret: wts_secret/)).toBeVisible();
  expect(asked.find(({ method }) => method === "POST")?.body).toEqual({
    name: "Birthday flow",
    check_links: "now",
    rate_limit: 100,
    callback: { kind: "webhook", url: "https://example.com/texts" },
  });
});

test("a secret is rotated", async () => {
  const { user } = open("/settings/texts", {
    "GET /v1/text-clients": { data: [CLIENT] },
    "POST /v1/text-clients/{id}/rotate": { ...CLIENT, client_secret: "wts_new" },
  });
  await user.click(await screen.findByRole("button", { name: "New secret for Birthday flow" }));
  expect(await screen.findByText(/X-Client-Secret: wts_new/)).toBeVisible();
});
