/** Pages whose list has nothing yet: what it is for, the button that makes the first one, and the same as a command. */
import { screen, within } from "@testing-library/react";
import { expect, test } from "vitest";
import type { Answers } from "@/testing/answers";
import { open } from "@/testing/open";
import { withPermissions } from "@/testing/person";

const PAGES: [path: string, route: keyof Answers, title: string, make: string, command: string][] = [
  ["/people", "GET /v1/profiles", "Nobody yet", "Add a person", "/v1/profiles"],
  ["/people/lists", "GET /v1/lists", "No lists yet", "New list", "/v1/lists"],
  ["/people/imports", "GET /v1/imports", "No imports yet", "Import a file", "/v1/imports?source=fair"],
  ["/segments", "GET /v1/segments", "No segments yet", "New segment", "/v1/segments"],
  ["/templates", "GET /v1/templates", "No templates yet", "New template", "/v1/templates"],
  ["/campaigns", "GET /v1/campaigns", "No campaigns yet", "New campaign", "/v1/campaigns"],
  ["/settings/keys", "GET /v1/keys", "No keys yet", "New key", "/v1/events"],
  ["/settings/senders", "GET /v1/senders", "No sender yet", "New sender", "/v1/senders"],
  ["/settings/texts", "GET /v1/text-clients", "No text client yet", "New text client", "/v1/text-clients"],
];

test.each(PAGES)("%s", async (path, route, title, make, command) => {
  open(path, { [route]: { data: [] } });
  const heading = await screen.findByRole("heading", { level: 2, name: title });
  const empty = within(heading.parentElement as HTMLElement);
  expect(
    empty.getByRole(/^\/(segments|templates|campaigns)/.test(path) ? "link" : "button", { name: make }),
  ).toBeVisible();
  expect(empty.getByRole("region", { name: "Or in a terminal" })).toHaveTextContent(command);
});

test("who may not make one is offered none", async () => {
  open("/people/lists", { "GET /v1/me": withPermissions("people.read"), "GET /v1/lists": { data: [] } });
  expect(await screen.findByRole("heading", { name: "No lists yet" })).toBeVisible();
  expect(screen.queryByRole("button", { name: "New list" })).toBeNull();
});
