/** The names of traits and properties that were seen, as values of a template, each with an example. */
import type { Value } from "./EditorView";

const NAME = /^[A-Za-z_]\w*$/;
/** Names that Liquid has a meaning of its own for. */
const WORDS = new Set(["empty", "blank", "nil", "null", "true", "false", "in", "and", "or", "not", "contains"]);
const LONGEST_EXAMPLE = 32;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function example(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  return text.length > LONGEST_EXAMPLE ? `${text.slice(0, LONGEST_EXAMPLE - 1)}…` : text;
}

const member = (root: string, name: string) =>
  NAME.test(name) && !WORDS.has(name) ? `${root}.${name}` : `${root}['${name}']`;

/** Returns `person.plan` for the trait `plan` of any of these objects, and `person.address.city` for one inside. */
export function seenValues(root: string, objects: readonly unknown[]): Value[] {
  const found = new Map<string, string>();
  const look = (path: string, value: unknown, depth: number) => {
    if (!isObject(value)) return;
    for (const [name, inner] of Object.entries(value)) {
      // A name with a quote cannot be written as a member.
      if (name.includes("'")) continue;
      const label = member(path, name);
      if (!found.get(label)) found.set(label, inner === null || inner === "" ? "" : example(inner));
      if (depth < 2) look(label, inner, depth + 1);
    }
  };
  for (const one of objects) look(root, one, 0);
  return [...found].sort(([one], [other]) => one.localeCompare(other)).map(([label, detail]) => ({ label, detail }));
}
