/** The pages of templates, as a person uses them. */
import { EditorView } from "@codemirror/view";
import { act, screen, within } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import type { Template, TemplatePreview } from "@/api/templates";
import { type Answers, refusal } from "@/testing/answers";
import { open } from "@/testing/open";
import { withPermissions } from "@/testing/person";
import { lintMail } from "./lints";

const AT = "2026-11-01T09:00:00Z";
const content = (fields: object) => fields as never;
const MAIL: Template = {
  id: "tpl_1",
  name: "Order",
  channel: "email",
  version: 2,
  current_version: 2,
  variants: [
    {
      name: "default",
      weight: 1,
      content: content({ subject: "Your order", html: "<p>Hi</p>", mjml: null, text: "", headers: { "X-A": "b" } }),
    },
  ],
  created_at: AT,
  updated_at: AT,
};
const RENDERED: TemplatePreview = {
  variant: "default",
  content: { subject: "Your order", html: '<p>Hi <a href="https://shop.example/u/x">x</a></p>', text: "Hi" },
  undefined: [{ name: "person.nickname", field: "html", line: 1, column: 3 }],
  sms: null,
};
const ANSWERS: Answers = {
  "GET /v1/profiles": { data: [] },
  "GET /v1/senders": { data: [] },
  "GET /v1/events": { data: [] },
  "GET /v1/metrics": { data: [] },
  "GET /v1/templates": { data: [MAIL] },
  "GET /v1/templates/{id}": MAIL,
  "POST /v1/templates/preview": RENDERED,
  "PATCH /v1/templates/{id}": { ...MAIL, version: 3, current_version: 3 },
};

/** Writes into the code editor of this name, as jsdom has no way to type into it. */
async function write(label: string, text: string) {
  const editor = EditorView.findFromDOM(await screen.findByRole("textbox", { name: label })) as EditorView;
  act(() => editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: text } }));
}

test("templates are listed", async () => {
  open("/templates", ANSWERS);
  expect(await screen.findByRole("link", { name: "Order" })).toHaveAttribute("href", "/templates/tpl_1");
  expect(screen.getByRole("link", { name: "New template" })).toHaveAttribute("href", "/templates/new");
});

describe("a template", () => {
  test("is seen beside its content, for a person, and saved as a new version", async () => {
    const person = { id: "pro_1", user_id: null, email: "ada@example.com", phone: null } as never;
    const { user, asked } = open("/templates/tpl_1", { ...ANSWERS, "GET /v1/profiles": { data: [person] } });
    const preview = within(await screen.findByRole("region", { name: "Preview" }));
    expect(await preview.findByTitle("Preview of the mail")).toBeVisible();
    expect(preview.getByText("person.nickname is not defined for this person (html, line 1, column 3)")).toBeVisible();
    await user.type(screen.getByLabelText("For the person"), "ada");
    expect(await screen.findByText("As ada@example.com gets it")).toBeVisible();
    await write("HTML of the mail", "<p>Bye</p>");
    await expect
      .poll(() => asked.findLast(({ path }) => path === "/v1/templates/preview")?.body)
      .toMatchObject({ channel: "email", content: { html: "<p>Bye</p>" }, profile_id: "pro_1" });
    await user.click(screen.getByRole("button", { name: "Save" }));
    expect((await screen.findAllByText("Version 3 is saved."))[0]).toBeInTheDocument();
    expect(asked.find(({ method }) => method === "PATCH")?.body).toEqual({
      name: "Order",
      variants: [
        {
          name: "default",
          weight: 1,
          content: { subject: "Your order", html: "<p>Bye</p>", headers: { "X-A": "b" } },
        },
      ],
    });
  });

  test("says in the editor what the server refuses", async () => {
    open("/templates/tpl_1", {
      ...ANSWERS,
      "POST /v1/templates/preview": refusal(400, "invalid_template", "html, line 1, column 4: The tag is not closed.", {
        field: "html",
        line: 1,
        column: 4,
      }),
    });
    expect((await screen.findAllByText("html, line 1, column 4: The tag is not closed."))[0]).toBeVisible();
  });

  test("offers the senders of the settings, with their address for answers", async () => {
    const mailbox = "Shop <shop@example.com>";
    const sender = {
      id: "snd_1",
      channel: "email",
      address: "shop@example.com",
      name: "Shop",
      default: false,
      mailbox,
    };
    const { user } = open("/templates/tpl_1", {
      ...ANSWERS,
      "GET /v1/senders": { data: [{ ...sender, reply_to: "help@example.com", created_at: AT, updated_at: AT }] },
    });
    const field = await screen.findByLabelText("Sender");
    await expect.poll(() => document.querySelector(`option[value="${mailbox}"]`)).not.toBeNull();
    await user.type(field, mailbox);
    expect(screen.getByLabelText("Reply to")).toHaveValue("help@example.com");
  });

  test("gets a ready block where the cursor is", async () => {
    const { user } = open("/templates/tpl_1", ANSWERS);
    const editor = await screen.findByRole("textbox", { name: "HTML of the mail" });
    await user.click(screen.getByRole("button", { name: "Insert" }));
    await user.click(await screen.findByRole("menuitem", { name: "Unsubscribe link" }));
    expect(editor).toHaveTextContent('<a href="{{ unsubscribe_url }}">Unsubscribe</a>');
  });

  test("is only read by who may only read", async () => {
    open("/templates/tpl_1", { ...ANSWERS, "GET /v1/me": withPermissions("templates.read") });
    expect(await screen.findByLabelText("Subject")).toHaveAttribute("readonly");
    expect(screen.queryByRole("button", { name: "Save" })).toBeNull();
  });
});

test("a text message is made, with its encoding and parts", async () => {
  const { user, asked, address } = open("/templates/new", {
    ...ANSWERS,
    "POST /v1/templates": {
      ...MAIL,
      channel: "sms",
      variants: [{ name: "default", weight: 1, content: content({ text: "Hi" }) }],
    },
    "POST /v1/templates/preview": {
      variant: "default",
      content: { text: "Hello 😀" },
      undefined: [],
      sms: { encoding: "UCS-2", characters: 7, units: 8, parts: 1, units_per_part: 70, per_part: [7], forcing: ["😀"] },
    },
  });
  await user.selectOptions(await screen.findByLabelText("Channel"), "Text message");
  await user.type(await screen.findByLabelText("Name"), "Greeting");
  await write("Text", "Hello 😀");
  expect(await screen.findByRole("region", { name: "The text message" })).toHaveTextContent("Hello 😀");
  expect(screen.getByText("UCS-2")).toBeVisible();
  expect(screen.getByText("8 of 70 in a part")).toBeVisible();
  expect(screen.getByText("These characters make it UCS-2, which holds less: 😀")).toBeVisible();
  await user.click(screen.getByRole("button", { name: "Create the template" }));
  await expect.poll(address).toBe("/templates/tpl_1");
  expect(asked.find(({ method, path }) => method === "POST" && path === "/v1/templates")?.body).toEqual({
    name: "Greeting",
    channel: "sms",
    variants: [{ name: "default", weight: 1, content: { text: "Hello 😀" } }],
  });
});

test("a mail is checked for what spoils it", () => {
  expect(lintMail('<img src="a"><a href="#">x</a>')).toEqual([
    "There is no unsubscribe link: a promotional mail needs the variable unsubscribe_url.",
    "A picture has no alternative text.",
    "A link leads nowhere.",
  ]);
  expect(lintMail('<img src="a" alt=""><a href="https://w.example/u/abc">x</a>')).toEqual([]);
});
