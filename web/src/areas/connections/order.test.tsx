/** The order of connections, by buttons and by dragging. */
import { fireEvent, screen, within } from "@testing-library/react";
import { expect, test } from "vitest";
import { CONNECTION, CONNECTORS } from "@/testing/connection";
import { open } from "@/testing/open";

test("connections stand in their order by channel, and buttons change it", async () => {
  const second = { ...CONNECTION, id: "con_2", name: "Backup", position: 1 };
  const { user, asked } = open("/connections", {
    ...CONNECTORS,
    "GET /v1/connections": { data: [second, CONNECTION] },
    "POST /v1/connections/order": { data: [] },
  });
  const rows = within(await screen.findByRole("table", { name: "Text messages" })).getAllByRole("row");
  expect(rows[1]).toHaveTextContent("Pinpoint Promo");
  expect(rows[2]).toHaveTextContent("Backup");
  await user.click(screen.getByRole("button", { name: "Move Backup up" }));
  await expect
    .poll(() => asked.find(({ method }) => method === "POST")?.body)
    .toEqual({
      channel: "sms",
      connections: ["con_2", "con_1"],
    });
});

test("connections are dragged to another place, where there is more than one", async () => {
  const others = [2, 3].map((n) => ({ ...CONNECTION, id: `con_${n}`, name: `Backup ${n}`, position: n - 1 }));
  const mail = { ...CONNECTION, id: "con_4", name: "Mail", channel: "email" };
  const { asked } = open("/connections", {
    ...CONNECTORS,
    "GET /v1/connections": { data: [CONNECTION, ...others, mail] },
    "POST /v1/connections/order": { data: [] },
  });
  const rows = within(await screen.findByRole("table", { name: "Text messages" })).getAllByRole("row");
  expect(screen.queryByTitle("Drag Mail to another place")).toBeNull();
  const dataTransfer = { setData: () => undefined, setDragImage: () => undefined };
  const [, first, , third] = rows as [HTMLElement, HTMLElement, HTMLElement, HTMLElement];
  // What comes from elsewhere is not taken.
  fireEvent.drop(third, { dataTransfer });
  fireEvent.dragStart(screen.getByTitle("Drag Pinpoint Promo to another place"), { dataTransfer });
  expect(fireEvent.dragOver(third, { dataTransfer })).toBe(false);
  expect(third).toHaveAttribute("data-dropping", "below");
  fireEvent.drop(third, { dataTransfer });
  await expect
    .poll(() => asked.filter(({ method }) => method === "POST").map(({ body }) => body.connections))
    .toEqual([["con_2", "con_3", "con_1"]]);
  expect(third).not.toHaveAttribute("data-dropping");
  expect(first).not.toHaveAttribute("data-dropping");
});
