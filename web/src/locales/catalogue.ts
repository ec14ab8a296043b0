/** Texts with ICU placeholders, plurals and choices: `{name}`, `{n, plural, one {# key} other {# keys}}`. */
import { createElement, Fragment, type ReactNode } from "react";
import { formatNumber, pluralRules } from "./format";

export type Texts = Readonly<Record<string, string>>;
export type Values = Readonly<Record<string, string | number>>;
type RichValues = Readonly<Record<string, ReactNode>>;

interface Choice {
  name: string;
  kind: string;
  options: Map<string, Part[]>;
}
/** Stands for the number of the plural around it. */
const NUMBER: unique symbol = Symbol("number");
type Part = string | { name: string } | Choice | typeof NUMBER;

/** Texts of the chosen language, by the name of their catalogue; what is missing stays English. */
let translations: Readonly<Record<string, Texts>> = {};

export function useTranslations(found: Readonly<Record<string, Texts>>): void {
  translations = found;
}

const parsed = new Map<string, Part[]>();

function parse(message: string): Part[] {
  let at = 0;

  function parts(inChoice: boolean): Part[] {
    const found: Part[] = [];
    let text = "";
    const flush = () => {
      if (text) found.push(text);
      text = "";
    };
    for (; at < message.length && !(inChoice && message[at] === "}"); at++) {
      const character = message[at] as string;
      if (character === "'" && "{}#".includes(message[at + 1] ?? "x")) {
        const end = message.indexOf("'", at + 1);
        text += message.slice(at + 1, end < 0 ? undefined : end);
        at = end < 0 ? message.length : end;
      } else if (character === "{") {
        flush();
        at++;
        found.push(placeholder());
      } else if (character === "#" && inChoice) {
        flush();
        found.push(NUMBER);
      } else {
        text += character;
      }
    }
    flush();
    return found;
  }

  function placeholder(): Part {
    const [whole, name, kind] = /^\s*(\w+)\s*(?:,\s*(plural|select|selectordinal)\s*,)?/.exec(message.slice(at)) ?? [];
    if (whole === undefined || name === undefined) throw new Error(`The text ${message} has a wrong placeholder.`);
    at += whole.length;
    const options = new Map<string, Part[]>();
    for (;;) {
      const option = /^\s*(=?\w+)\s*\{/.exec(message.slice(at));
      if (!option) break;
      at += option[0].length;
      options.set(option[1] as string, parts(true));
      at++;
    }
    while (message[at] === " ") at++;
    if (message[at] !== "}") throw new Error(`The text ${message} lacks a closing brace.`);
    return kind ? { name, kind, options } : { name };
  }

  return parts(false);
}

function choose(choice: Choice, value: ReactNode): Part[] {
  const exact = choice.options.get(choice.kind === "select" ? String(value) : `=${value}`);
  if (exact || choice.kind === "select") return exact ?? choice.options.get("other") ?? [];
  const type = choice.kind === "plural" ? "cardinal" : "ordinal";
  const category = pluralRules({ type }).select(Number(value));
  return choice.options.get(category) ?? choice.options.get("other") ?? [];
}

function fill(parts: Part[], values: RichValues, count?: ReactNode): ReactNode[] {
  return parts.flatMap((part): ReactNode[] => {
    if (part === NUMBER) return [typeof count === "number" ? formatNumber(count) : count];
    if (typeof part === "string") return [part];
    const value = values[part.name];
    if ("options" in part) return fill(choose(part, value), values, value);
    return [typeof value === "number" ? formatNumber(value) : value];
  });
}

/** Returns the functions that give the texts of a catalogue: `t` as text, `rich` with elements as values. */
export function catalogue<T extends Texts>(name: string, english: T) {
  function look(key: keyof T & string): Part[] {
    const message = translations[name]?.[key] ?? (english[key] as string);
    const found = parsed.get(message) ?? parse(message);
    parsed.set(message, found);
    return found;
  }
  return {
    t: (key: keyof T & string, values: Values = {}): string => fill(look(key), values).join(""),
    rich: (key: keyof T & string, values: RichValues): ReactNode =>
      createElement(Fragment, null, ...fill(look(key), values)),
    has: (key: string): key is keyof T & string => key in english,
  };
}
