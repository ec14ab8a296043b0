/** Differences between texts, line by line. */
import { expect, test } from "vitest";
import { diffLines, type Line, shorten } from "./diff";

const SIGNS = { same: " ", removed: "-", added: "+", gap: "@" };
const drawn = (lines: readonly Line[]) => lines.map(({ kind, text }) => SIGNS[kind] + text).join("|");

test.each([
  ["", "", ""],
  ["a", "a", " a"],
  ["", "a\nb", "+a|+b"],
  ["a\nb", "", "-a|-b"],
  ["a\nb\nc", "a\nx\nc", " a|-b|+x| c"],
  ["a\nb\nc\nd", "b\nd\ne", "-a| b|-c| d|+e"],
  ["a\r\nb", "a\nb\n", " a| b|+"],
])("%j against %j", (before, after, expected) => {
  expect(drawn(diffLines(before, after))).toBe(expected);
});

test("the lines of both texts are all there, with their numbers", () => {
  const [before, after] = ["a\nb\nc\nb\na", "c\nb\na\nb\nc"];
  const lines = diffLines(before, after);
  const side = (name: "before" | "after") => lines.filter((line) => line[name] !== undefined);
  expect(side("before").map(({ text }) => text)).toEqual(before.split("\n"));
  expect(side("after").map(({ text }) => text)).toEqual(after.split("\n"));
  expect(side("before").map((line) => line.before)).toEqual([1, 2, 3, 4, 5]);
  expect(side("after").map((line) => line.after)).toEqual([1, 2, 3, 4, 5]);
});

test("texts that are too long to compare line by line are replaced", () => {
  const many = (word: string) => Array.from({ length: 3000 }, (_, n) => `${word} ${n}`).join("\n");
  const lines = diffLines(`first\n${many("old")}\nlast`, `first\n${many("new")}\nlast`);
  expect(lines).toHaveLength(6002);
  expect([lines[0]?.kind, lines[1]?.kind, lines.at(-2)?.kind, lines.at(-1)?.kind]).toEqual([
    "same",
    "removed",
    "added",
    "same",
  ]);
});

test("what is far from a change is left out", () => {
  const text = Array.from({ length: 20 }, (_, n) => `line ${n}`);
  const lines = shorten(diffLines(text.join("\n"), text.with(10, "changed").join("\n")), 2);
  expect(lines.map(({ kind }) => SIGNS[kind]).join("")).toBe("@  -+  @");
  expect(lines[0]).toEqual({ kind: "gap", lines: 8 });
});
