/** The code editor: HTML and MJML with Liquid in it, completion of its values, and the problems that the server found. */
import { autocompletion, type Completion, type CompletionContext, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { html } from "@codemirror/lang-html";
import { json } from "@codemirror/lang-json";
import { bracketMatching, HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState } from "@codemirror/state";
import {
  Decoration,
  highlightActiveLine,
  keymap,
  lineNumbers,
  MatchDecorator,
  EditorView as View,
  ViewPlugin,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef } from "react";
import classes from "./EditorView.module.css";

/** Something that the server says about a place. */
export interface Finding {
  line: number;
  column: number;
  text: string;
  severity: "error" | "warning";
}

/** A value that completion offers, with an example of it. */
export interface Value {
  label: string;
  detail?: string;
}

export interface EditorProps {
  label: string;
  value: string;
  onChange: (next: string) => void;
  language: "html" | "json" | "text";
  findings: readonly Finding[];
  /** What is known of the people and events of the workspace. */
  values?: readonly Value[];
  readOnly?: boolean;
  /** Gives the function that inserts a text where the cursor is. */
  onReady?: (insert: (text: string) => void) => void;
}

/** Dark enough on white, light enough on black (WCAG 1.4.3). */
const COLOURS = HighlightStyle.define([
  { tag: [tags.tagName, tags.keyword, tags.angleBracket], color: "light-dark(#1a5e20, #8ce99a)" },
  { tag: [tags.attributeName, tags.propertyName], color: "light-dark(#1c4b9c, #a5d8ff)" },
  { tag: [tags.string, tags.attributeValue], color: "light-dark(#8a1f1f, #ffc9c9)" },
  { tag: [tags.number, tags.bool, tags.null], color: "light-dark(#5f3dc4, #d0bfff)" },
  { tag: tags.comment, color: "light-dark(#5c5f66, #c1c2c5)", fontStyle: "italic" },
  { tag: tags.invalid, color: "light-dark(#b00020, #ff8787)" },
]);

const VALUES = [
  "person.first_name",
  "person.last_name",
  "person.email",
  "person.phone",
  "person.user_id",
  "event.id",
  "event.metric",
  "event.time",
  "organization.name",
  "unsubscribe_url",
  "preferences_url",
];
const FILTERS = ["default", "date", "upper", "lower", "capfirst", "escape", "floatformat", "join", "json", "truncate"];

/** Offers filters behind a bar, else values: those that were seen come before those that always exist. */
export function complete(context: CompletionContext, seen: readonly Value[]) {
  const open = context.matchBefore(/\{[{%][^}]*/);
  if (!open) return null;
  const word = context.matchBefore(/[\w.]*/);
  const from = word?.from ?? context.pos;
  if (/\|\s*\w*$/.test(open.text)) {
    return { from, options: FILTERS.map((label): Completion => ({ label, type: "function" })) };
  }
  const known = new Set(seen.map(({ label }) => label));
  const values = [...seen, ...VALUES.filter((label) => !known.has(label)).map((label) => ({ label }))];
  return { from, options: values.map((value): Completion => ({ ...value, type: "variable" })) };
}

/** Not light first and dark after that. */
const AT_ONCE = { getInitialValueInEffect: false };

/** The editor's own parts, such as the gutter and the list of completion, know a dark scheme when they are told. */
const scheme = new Compartment();

const liquid = new MatchDecorator({
  regexp: /\{\{[^}]*\}\}|\{%[^%]*%\}|\{#[^#]*#\}/g,
  decoration: Decoration.mark({ class: classes.liquid }),
});
const marks = ViewPlugin.define(
  (view) => ({
    found: liquid.createDeco(view),
    update(update) {
      this.found = liquid.updateDeco(update, this.found);
    },
  }),
  { decorations: ({ found }) => found },
);

/** The Content-Security-Policy lets only styles with the nonce of the page in. */
const nonce = () => document.querySelector<HTMLMetaElement>("meta[property=csp-nonce]")?.nonce ?? "";

export default function EditorView(props: EditorProps) {
  const { label, value, onChange, language, findings, values = [], readOnly, onReady } = props;
  const dark = useComputedColorScheme("light", AT_ONCE) === "dark";
  const place = useRef<HTMLDivElement>(null);
  const view = useRef<View>(undefined);
  const change = useRef(onChange);
  change.current = onChange;
  const latest = useRef({ value, values, dark, onReady });
  latest.current = { value, values, dark, onReady };

  useEffect(() => {
    const editor = new View({
      parent: place.current as HTMLDivElement,
      state: EditorState.create({
        doc: latest.current.value,
        extensions: [
          lineNumbers(),
          history(),
          bracketMatching(),
          highlightActiveLine(),
          highlightSelectionMatches(),
          syntaxHighlighting(COLOURS),
          language === "json" ? json() : language === "html" ? html() : [],
          marks,
          autocompletion({ override: [(context) => complete(context, latest.current.values)] }),
          scheme.of(View.darkTheme.of(latest.current.dark)),
          // Tab is left to the browser: who uses the keyboard gets out of the editor.
          keymap.of([...defaultKeymap, ...historyKeymap, ...searchKeymap, ...completionKeymap]),
          View.lineWrapping,
          View.contentAttributes.of({ "aria-label": label }),
          View.cspNonce.of(nonce()),
          EditorState.readOnly.of(readOnly ?? false),
          View.updateListener.of((update) => {
            if (update.docChanged) change.current(update.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = editor;
    latest.current.onReady?.((text) => {
      const { from, to } = editor.state.selection.main;
      editor.dispatch({ changes: { from, to, insert: text }, selection: { anchor: from + text.length } });
      editor.focus();
    });
    return () => editor.destroy();
  }, [label, language, readOnly]);

  useEffect(() => view.current?.dispatch({ effects: scheme.reconfigure(View.darkTheme.of(dark)) }), [dark]);

  // Another version was loaded; what was typed here is there already.
  useEffect(() => {
    const editor = view.current;
    if (!editor || editor.state.doc.toString() === value) return;
    editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: value } });
  }, [value]);

  useEffect(() => {
    const editor = view.current;
    if (!editor) return;
    const { doc } = editor.state;
    const found = findings.map(({ line, column, text, severity }): Diagnostic => {
      const at = doc.line(Math.min(Math.max(line, 1), doc.lines));
      const from = Math.min(at.from + Math.max(column - 1, 0), at.to);
      return { from, to: Math.max(from, at.to), message: text, severity };
    });
    editor.dispatch(setDiagnostics(editor.state, found));
  }, [findings]);

  return <div ref={place} className={classes.editor} />;
}
