/** Texts with values, plurals and choices. */
import { expect, test } from "vitest";
import { catalogue, type Texts } from "./catalogue";

const { t } = catalogue("test", {
  plain: "Nothing to fill in",
  value: "Deleted {name}.",
  plural: "{n, plural, =0 {nobody} one {# person} other {# people}} in {list}",
  nested: "{kind, select, sms {{n, plural, one {# text} other {# texts}}} other {something}}",
  ordinal: "the {n, selectordinal, one {#st} two {#nd} few {#rd} other {#th}}",
  quoted: "Write '{name}' as it is, it's fine",
});

test.each([
  [t("plain"), "Nothing to fill in"],
  [t("value", { name: "{x} #1" }), "Deleted {x} #1."],
  [t("plural", { n: 0, list: "News" }), "nobody in News"],
  [t("plural", { n: 1, list: "News" }), "1 person in News"],
  [t("plural", { n: 12_403, list: "News" }), "12,403 people in News"],
  [t("nested", { kind: "sms", n: 2 }), "2 texts"],
  [t("nested", { kind: "email", n: 2 }), "something"],
  [t("ordinal", { n: 3 }), "the 3rd"],
  [t("quoted"), "Write {name} as it is, it's fine"],
])("%s", (text, expected) => {
  expect(text).toBe(expected);
});

const FILES = import.meta.glob<{ default: Texts }>("./en/*.ts", { eager: true });

test.each(Object.keys(FILES))("every text of %s can be read", (file) => {
  const texts = FILES[file]?.default ?? {};
  const { t: any } = catalogue(file, texts);
  const values = new Proxy({}, { get: () => 2, has: () => true });
  for (const key of Object.keys(texts)) expect(any(key, values)).not.toMatch(/undefined|[{}]/);
});
