/** The condition of a segment as the builder edits it, and back: a tree of groups and rows with keys of their own. */
import type { Condition } from "@/api/segments";

export const OPERATORS = [
  "is",
  "is_not",
  "in",
  "contains",
  "starts_with",
  "gt",
  "gte",
  "lt",
  "lte",
  "exists",
  "missing",
  "before",
  "after",
] as const;
export type Operator = (typeof OPERATORS)[number];
const NUMERIC: readonly string[] = ["gt", "gte", "lt", "lte"];

/** A test of a value, as it is typed. */
export interface Test {
  operator: Operator;
  value: string;
}
export interface Where extends Test {
  key: string;
  name: string;
}

export type Often = "at_least" | "at_most" | "exactly" | "never";
export type Leaf =
  | ({ kind: "trait"; name: string } & Test)
  | { kind: "event"; name: string; often: Often; times: string; within: string; where: Where[] }
  | { kind: "list" | "tag" | "subscribed" | "segment"; name: string }
  | { kind: "raw"; text: string };
export type Kind = Leaf["kind"];

export interface Row {
  key: string;
  not: boolean;
  leaf: Leaf;
}
export interface Group {
  key: string;
  not: boolean;
  mode: "all" | "any";
  nodes: Node[];
}
export type Node = Row | Group;

export const isGroup = (node: Node): node is Group => "nodes" in node;

let last = 0;
export const newKey = () => `n${++last}`;

export function newLeaf(kind: Kind): Leaf {
  if (kind === "trait") return { kind, name: "", operator: "is", value: "" };
  if (kind === "event") return { kind, name: "", often: "at_least", times: "1", within: "", where: [] };
  return kind === "raw" ? { kind, text: "{}" } : { kind, name: kind === "subscribed" ? "email" : "" };
}

export const newRow = (): Row => ({ key: newKey(), not: false, leaf: newLeaf("trait") });
export const newGroup = (mode: Group["mode"] = "all", nodes: Node[] = []): Group => ({
  key: newKey(),
  not: false,
  mode,
  nodes,
});

/** Text that looks like a number or a truth is one, unless it stands in quotes. */
function readValue(text: string): unknown {
  const trimmed = text.trim();
  if (/^-?\d{1,15}(\.\d+)?$/.test(trimmed)) return Number(trimmed);
  if (trimmed === "true" || trimmed === "false") return trimmed === "true";
  return /^".*"$/.test(trimmed) ? trimmed.slice(1, -1) : trimmed;
}

function showValue(value: unknown): string {
  if (typeof value === "string") return readValue(value) === value ? value : `"${value}"`;
  return String(value);
}

function writeTest({ operator, value }: Test): Condition {
  if (operator === "exists" || operator === "missing") return { exists: operator === "exists" };
  if (operator === "in") return { in: value.split(",").map(readValue) };
  if (["contains", "starts_with", "before", "after"].includes(operator)) return { [operator]: value.trim() };
  return { [operator]: readValue(value) };
}

/** Returns the test of an object with exactly one operator; with several, the builder has no fields. */
function readTest(found: Condition): Test | undefined {
  const [entry, ...more] = Object.entries(found);
  if (!entry || more.length > 0) return undefined;
  const [operator, value] = entry;
  if (operator === "exists") return { operator: value === false ? "missing" : "exists", value: "" };
  if (!OPERATORS.includes(operator as Operator)) return undefined;
  if (operator === "in") return Array.isArray(value) ? { operator, value: value.map(showValue).join(", ") } : undefined;
  if (typeof value === "object") return undefined;
  const plain = ["contains", "starts_with", "before", "after"].includes(operator);
  return { operator: operator as Operator, value: plain ? String(value) : showValue(value) };
}

function writeLeaf(leaf: Leaf): Condition {
  switch (leaf.kind) {
    case "trait":
      return { trait: leaf.name.trim(), ...writeTest(leaf) };
    case "event": {
      const times = Number(leaf.times);
      const bounds = {
        at_least: { at_least: times },
        at_most: { at_most: times },
        exactly: { at_least: times, at_most: times },
        never: { at_most: 0 },
      }[leaf.often];
      const where = leaf.where.map((one) => [
        one.name.trim(),
        one.operator === "is" ? readValue(one.value) : writeTest(one),
      ]);
      return {
        event: leaf.name.trim(),
        ...bounds,
        ...(leaf.within && { within: leaf.within }),
        ...(where.length > 0 && { where: Object.fromEntries(where) }),
      };
    }
    case "raw":
      return JSON.parse(leaf.text) as Condition;
    default:
      return { [leaf.kind]: leaf.name.trim() };
  }
}

function readEvent(found: Condition): Leaf | undefined {
  const { event, at_least: least, at_most: most, within = "", where = {}, ...more } = found;
  if (typeof event !== "string" || Object.keys(more).length > 0 || !/^(\d+[hdw])?$/.test(String(within)))
    return undefined;
  const tests: Where[] = [];
  for (const [name, test] of Object.entries(where as Condition)) {
    const read = readTest(typeof test === "object" && test !== null ? (test as Condition) : { is: test });
    if (!read) return undefined;
    tests.push({ key: newKey(), name, ...read });
  }
  const often: Often | undefined =
    most === 0 && !least ? "never" : most === undefined ? "at_least" : least === undefined ? "at_most" : "exactly";
  if (often === "exactly" && least !== most) return undefined;
  const times = String((often === "at_least" ? (least ?? 1) : most) ?? 1);
  return {
    kind: "event",
    name: event,
    often,
    times: often === "never" ? "1" : times,
    within: String(within),
    where: tests,
  };
}

function readLeaf(found: Condition): Leaf {
  const raw: Leaf = { kind: "raw", text: JSON.stringify(found, null, 2) };
  if (typeof found.trait === "string") {
    const { trait, ...rest } = found;
    const test = readTest(rest);
    return test ? { kind: "trait", name: trait as string, ...test } : raw;
  }
  if ("event" in found) return readEvent(found) ?? raw;
  for (const kind of ["list", "tag", "subscribed", "segment"] as const) {
    const name = found[kind];
    if (typeof name === "string" && Object.keys(found).length === 1) return { kind, name };
  }
  return raw;
}

function readNode(found: Condition): Node {
  if (found.not && typeof found.not === "object") {
    const inner = readNode(found.not as Condition);
    // A double negation has no place in a sentence.
    if (!inner.not) return { ...inner, not: true };
  }
  for (const mode of ["all", "any"] as const) {
    const parts = found[mode];
    if (Array.isArray(parts))
      return newGroup(
        mode,
        parts.map((part) => readNode(part as Condition)),
      );
  }
  return { key: newKey(), not: false, leaf: readLeaf(found) };
}

/** The tree of a condition: its root is always a group. */
export function readCondition(found: Condition): Group {
  const node = readNode(found);
  return isGroup(node) ? node : newGroup("all", [node]);
}

function writeNode(node: Node): Condition {
  const inner = isGroup(node) ? { [node.mode]: node.nodes.map(writeNode) } : writeLeaf(node.leaf);
  return node.not ? { not: inner } : inner;
}

export const writeCondition = (root: Group): Condition => writeNode(root);

const testComplete = ({ operator, value }: Test) =>
  operator === "exists" ||
  operator === "missing" ||
  (value.trim() !== "" && (!NUMERIC.includes(operator) || !Number.isNaN(Number(value))));

function leafComplete(leaf: Leaf): boolean {
  if (leaf.kind === "raw") {
    try {
      return typeof JSON.parse(leaf.text) === "object";
    } catch {
      return false;
    }
  }
  if (leaf.name.trim() === "") return false;
  if (leaf.kind === "trait") return testComplete(leaf);
  if (leaf.kind !== "event") return true;
  return /^\d+$/.test(leaf.times) && leaf.where.every((one) => one.name.trim() !== "" && testComplete(one));
}

/** Whether every row says something: what is half typed is not sent. */
export const isComplete = (node: Node): boolean =>
  isGroup(node) ? node.nodes.length > 0 && node.nodes.every(isComplete) : leafComplete(node.leaf);
