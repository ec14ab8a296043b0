/** Asks the server how a content renders, when typing stops; older questions are cancelled. */
import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { Problem } from "@/api/problem";
import { type Context, contentPreviewQuery, type TemplateContent } from "@/api/templates";
import type { Finding } from "./EditorView";
import { t } from "./texts";

const WAIT_MS = 300;

export function usePreview(channel: string, content: TemplateContent | undefined, context: Context) {
  const now = content && JSON.stringify(content);
  const [settled, setSettled] = useState(now);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(now), WAIT_MS);
    return () => clearTimeout(timer);
  }, [now]);
  const query = useQuery({
    ...contentPreviewQuery(channel, settled ? JSON.parse(settled) : {}, context),
    enabled: settled !== undefined,
  });
  const problem = query.error instanceof Problem ? query.error : undefined;
  return {
    preview: query.error ? undefined : query.data,
    error: query.error ? (problem?.detail ?? query.error.message) : undefined,
    /** What the server found in a field, for the editor of the field. */
    findings: (field: string): Finding[] => {
      const { line, column } = problem?.extra ?? {};
      const at = String(problem?.extra.field ?? "")
        .split(".")
        .at(-1);
      if (problem && at === field && typeof line === "number") {
        return [{ line, column: typeof column === "number" ? column : 1, text: problem.detail, severity: "error" }];
      }
      // Of MJML the place is one in the HTML that it became.
      if (query.error || field === "mjml") return [];
      return (query.data?.undefined ?? [])
        .filter((one) => one.field === field)
        .map(({ name, line: row, column: place }) => ({
          line: row,
          column: place,
          text: t("undefined", { name }),
          severity: "warning",
        }));
    },
  };
}
