/** Styles of a mail come through a document that may have none. */
import { expect, test } from "vitest";
import { readMail, setStyle, writeMail } from "./mailHtml";

test("a mail is read and written with its styles, which the document itself does not have", () => {
  const mail = readMail('<style>p { margin: 0 }</style><p style="color: red">x</p><P\nSTYLE = "top: 0">style=1</P>');
  expect(mail.querySelectorAll("[style], style")).toHaveLength(0);
  const added = mail.createElement("b");
  setStyle(added, "color: blue");
  mail.body.append(added);
  expect(writeMail(mail)).toBe(
    "<html><head><style>p { margin: 0 }</style></head><body>" +
      '<p style="color: red">x</p><p style="top: 0">style=1</p><b style="color: blue"></b></body></html>',
  );
});
