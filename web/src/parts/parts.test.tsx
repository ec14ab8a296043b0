/** Parts by what they show. */
import { MantineProvider } from "@mantine/core";
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import type { ReactElement } from "react";
import { expect, test, vi } from "vitest";
import { Problem } from "@/api/problem";
import { Chart } from "./Chart";
import { curl } from "./CopyAsCurl";
import { Count } from "./Count";
import { confirm, Dialogs } from "./dialogs";
import { Json } from "./Json";
import { ResponseView } from "./Request";
import { States } from "./States";
import { Time } from "./Time";
import { Toasts, toast } from "./toasts";

const show = (element: ReactElement) => {
  render(<MantineProvider env="test">{element}</MantineProvider>);
  return userEvent.setup();
};

const QUERY = {
  data: undefined,
  error: null,
  isError: false,
  isPending: false,
  isFetching: false,
  dataUpdatedAt: 0,
  refetch: vi.fn(),
};

test("an error says what is wrong, which request it was, and can be tried again", async () => {
  const refetch = vi.fn();
  const error = new Problem(503, "unavailable", "The store is not available.", [], {}, 1, "req-7");
  const user = show(<States query={{ ...QUERY, error, isError: true, refetch }}>{() => <p>the data</p>}</States>);
  expect(screen.getByRole("alert")).toHaveTextContent("The store is not available.");
  expect(screen.getByRole("alert")).toHaveTextContent("req-7");
  await user.click(screen.getByRole("button", { name: "Try again" }));
  expect(refetch).toHaveBeenCalledOnce();
});

test("data that could not be loaded again is shown, and how old it is", () => {
  const query = { ...QUERY, data: { data: [1] }, error: new Error("x"), isError: true, dataUpdatedAt: Date.now() };
  show(<States query={query}>{() => <p>the data</p>}</States>);
  expect(screen.getByText("the data")).toBeVisible();
  expect(screen.getByRole("status")).toHaveTextContent(/^Updated .*, reconnecting$/);
});

test("an empty list teaches, and one with filters can be cleared", async () => {
  const clear = vi.fn();
  const empty = { title: "No endpoints yet", example: "curl …" };
  show(
    <States query={{ ...QUERY, data: { data: [] } }} empty={empty}>
      {() => null}
    </States>,
  );
  expect(screen.getByRole("heading", { name: "No endpoints yet" })).toBeVisible();
  const user = show(
    <States query={{ ...QUERY, data: { data: [] } }} empty={empty} clearFilters={clear}>
      {() => null}
    </States>,
  );
  await user.click(screen.getByRole("button", { name: "Clear the filters" }));
  expect(clear).toHaveBeenCalledOnce();
});

test("a command quotes what a shell would read", () => {
  const body = { text: "it's $HOME" };
  expect(curl({ method: "POST", path: "/v1/messages", body }, "https://w.example")).toBe(
    `curl -X POST https://w.example/v1/messages \\
  -H "Authorization: Bearer $KEY" \\
  -H 'Content-Type: application/json' \\
  -d '{"text":"it'\\''s $HOME"}'`,
  );
  expect(curl({ path: "/v1/events", query: { type: "a b", limit: 5, after: "" } }, "https://w.example")).toContain(
    "'https://w.example/v1/events?type=a+b&limit=5'",
  );
});

test("a question is answered by its buttons, and one to type only with the right words", async () => {
  const user = show(<Dialogs />);
  const answer = confirm({ title: "Delete Shop?", action: "Delete", danger: true, typed: "Shop" });
  const button = await screen.findByRole("button", { name: "Delete" });
  expect(button).toBeDisabled();
  await user.type(screen.getByLabelText("Type Shop to confirm"), "Shop");
  await user.click(button);
  await expect(answer).resolves.toBe(true);
  const second = confirm({ title: "Sure?", action: "Yes" });
  await user.click(await screen.findByRole("button", { name: "Cancel" }));
  await expect(second).resolves.toBe(false);
});

test("what was done can be undone from its message", async () => {
  const undo = vi.fn();
  const user = show(<Toasts />);
  toast("Deleted", { undo });
  await user.click(await screen.findByRole("button", { name: "Undo" }));
  expect(undo).toHaveBeenCalledOnce();
  expect(screen.queryByText("Deleted")).not.toBeInTheDocument();
});

test("JSON is shown as text, and a long one is cut until it is asked for", async () => {
  const user = show(<Json value={{ html: "<b>x</b>", long: "y".repeat(30_000) }} label="Properties" />);
  expect(screen.getByRole("region", { name: "Properties" })).toHaveTextContent("<b>x</b>");
  await user.click(screen.getByRole("button", { name: /Show all/ }));
  expect(screen.getByRole("region", { name: "Properties" }).textContent).toHaveLength(30_038);
});

test("a response shows its status, headers and body", () => {
  show(<ResponseView status={500} headers={{ "x-a": "1" }} body='{"a":1}' milliseconds={1200} />);
  expect(screen.getByText("500")).toBeVisible();
  expect(screen.getByText("1,200 ms")).toBeVisible();
  expect(screen.getByRole("row", { name: "x-a 1" })).toBeVisible();
  expect(screen.getByRole("region", { name: "Body" })).toHaveTextContent('{ "a": 1 }');
});

test("times are near or exact, and numbers short where asked", () => {
  show(
    <>
      <Time at={new Date(Date.now() - 5 * 60_000).toISOString()} />
      <Time at={null} />
      <Count of={12_403} short />
      <Count of={12_403} approximate />
    </>,
  );
  expect(screen.getByText("5 minutes ago")).toBeVisible();
  expect(screen.getByText("Never")).toBeVisible();
  expect(screen.getByText("12.4K")).toBeVisible();
  expect(screen.getByText("about 12,403")).toBeVisible();
});

test("a chart is walked by the arrow keys, and is a table as well", async () => {
  const props = { times: [0, 3600], series: [{ name: "Opened", values: [1200, null] }] };
  const user = show(<Chart label="Opens in each hour" formatTime={(at) => `at ${at.getTime()}`} {...props} />);
  const chart = await screen.findByRole("slider", { name: "Opens in each hour" });
  chart.focus();
  await user.keyboard("{ArrowRight}");
  expect(chart).toHaveAttribute("aria-valuetext", "at 0 · Opened 1,200");
  await user.keyboard("{ArrowRight}{ArrowRight}");
  expect(chart).toHaveAttribute("aria-valuetext", "at 3600000 · Opened –");
  await user.click(screen.getByRole("button", { name: "As a table" }));
  expect(screen.getByRole("row", { name: "at 0 1,200" })).toBeVisible();
});
