/** The structure of the interface, enforced: small files, areas that do not know each other, no text outside the catalogue. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";

const ROOT = import.meta.dirname;
const LONGEST = 300;
const GENERATED = "api/schema.d.ts";
const BANNED = /(^|\/)(utils?|helpers?|common|misc)(\/|\.)/i;
/** What a person reads, when it stands in one of these attributes. */
const READ = new Set(["label", "title", "placeholder", "description", "aria-label", "alt", "lead", "hint", "words"]);

const FILES = readdirSync(ROOT, { recursive: true, encoding: "utf-8" })
  .map((name) => relative(ROOT, join(ROOT, name)).replaceAll("\\", "/"))
  .filter((name) => /\.tsx?$/.test(name) && name !== GENERATED);

const read = (name: string) => readFileSync(join(ROOT, name), "utf-8");
const isTest = (name: string) => /\.test\.tsx?$/.test(name) || name.startsWith("testing/");

function imports(name: string): string[] {
  return [...read(name).matchAll(/(?:from|import\()\s*"([^"]+)"/g)].map(([, path]) => path as string);
}

describe.each(FILES)("%s", (name) => {
  test("is short and says what it is for", () => {
    const text = read(name);
    expect(text.split("\n").length - 1).toBeLessThanOrEqual(LONGEST);
    expect(name).not.toMatch(BANNED);
    if (name !== "vite-env.d.ts") expect(text).toMatch(/^\/\*\* \S/);
  });

  test("imports what its place may import", () => {
    const area = /^areas\/([^/]+)\//.exec(name)?.[1];
    const paths = imports(name);
    if (area && !isTest(name)) {
      const shell = name.endsWith("/routes.tsx") ? /^@\/(api|parts|locales|shell)\// : /^@\/(api|parts|locales)\//;
      expect(paths.filter((path) => path.startsWith("@/") && !shell.test(path))).toEqual([]);
      expect(paths.filter((path) => path.startsWith("../"))).toEqual([]);
    }
    if (/^(api|parts|locales)\//.test(name) && !isTest(name)) {
      expect(paths.filter((path) => /^@\/(areas|shell)\//.test(path))).toEqual([]);
    }
    if (name.startsWith("api/")) expect(paths.filter((path) => path.startsWith("@/parts"))).toEqual([]);
  });

  test("has no text of its own", () => {
    if (!name.endsWith(".tsx") || isTest(name)) return;
    const source = ts.createSourceFile(name, read(name), ts.ScriptTarget.Latest, true, ts.ScriptKind.TSX);
    const found: string[] = [];
    const visit = (node: ts.Node) => {
      if (ts.isJsxText(node) && /\p{L}{2}/u.test(node.text)) found.push(node.text.trim());
      if (ts.isJsxAttribute(node) && READ.has(node.name.getText()) && node.initializer) {
        const value = ts.isJsxExpression(node.initializer) ? node.initializer.expression : node.initializer;
        if (value && ts.isStringLiteral(value) && /\p{L}{2}/u.test(value.text)) found.push(value.text);
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
    expect(found.filter((text) => !/^Ctrl/.test(text))).toEqual([]);
  });
});
