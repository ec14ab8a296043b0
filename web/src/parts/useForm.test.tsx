/** A form: what was typed stays, and errors stand beside their fields. */
import { MantineProvider, TextInput } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import { Problem, readFields } from "@/api/problem";
import { FormProblem } from "./FormProblem";
import { useForm } from "./useForm";

function Form({ send }: { send: (values: object) => Promise<unknown> }) {
  const form = useForm({
    initial: { name: "", host: "" },
    send,
    checks: { name: (value) => (value ? undefined : "A name is needed.") },
    names: { "config.host": "host" },
  });
  return (
    <form {...form.form}>
      <TextInput {...form.field("name")} label="Name" />
      <TextInput {...form.field("host")} label="Host" />
      <FormProblem problem={form.problem} />
      <button type="submit">Save</button>
      <output>{form.changed ? "changed" : "saved"}</output>
    </form>
  );
}

function show(send: (values: object) => Promise<unknown>) {
  render(
    <MantineProvider env="test">
      <QueryClientProvider client={new QueryClient()}>
        <Form send={send} />
      </QueryClientProvider>
    </MantineProvider>,
  );
  return userEvent.setup();
}

const save = () => screen.getByRole("button", { name: "Save" });

test("a field that the API refuses says why, gets the focus and keeps its value", async () => {
  const detail = "The host is not valid.";
  const user = show(() => Promise.reject(new Problem(400, "invalid_body", detail, [{ field: "config.host", detail }])));
  await user.type(screen.getByLabelText("Name"), "mail");
  await user.type(screen.getByLabelText("Host"), "a b");
  await user.click(save());
  expect(await screen.findByText(detail)).toBeVisible();
  expect(screen.getByLabelText("Host")).toHaveFocus();
  expect(screen.getByLabelText("Host")).toHaveValue("a b");
  expect(screen.queryByRole("alert")).not.toBeInTheDocument();
  await user.type(screen.getByLabelText("Host"), "c");
  expect(screen.queryByText(detail)).not.toBeInTheDocument();
});

test("an error without a field stands above the button", async () => {
  const user = show(() => Promise.reject(new Problem(503, "unavailable", "The store is not available.")));
  await user.type(screen.getByLabelText("Name"), "mail");
  await user.click(save());
  expect(await screen.findByRole("alert")).toHaveTextContent("The store is not available.");
  expect(screen.getByLabelText("Name")).toHaveValue("mail");
});

test("nothing is sent while a check fails", async () => {
  const send = vi.fn();
  const user = show(send);
  await user.click(save());
  expect(await screen.findByText("A name is needed.")).toBeVisible();
  expect(screen.getByLabelText("Name")).toHaveFocus();
  expect(send).not.toHaveBeenCalled();
});

test("what is saved is no longer a change", async () => {
  const user = show(() => Promise.resolve());
  await user.type(screen.getByLabelText("Name"), "mail");
  expect(screen.getByRole("status")).toHaveTextContent("changed");
  await user.click(save());
  expect(await screen.findByText("saved")).toBeVisible();
});

test.each([
  [{ detail: "d", field: "name" }, "name"],
  [{ detail: "d", field: "event_types[0].name" }, "event_types.0.name"],
  [{ detail: "d", field: "rules[...].from" }, "rules.from"],
  [{ detail: "d", errors: [{ pointer: "/config/a~1b", detail: "x" }] }, "config.a/b"],
])("the fields of %j are read", (body, field) => {
  expect(readFields(body)[0]?.field).toBe(field);
});
