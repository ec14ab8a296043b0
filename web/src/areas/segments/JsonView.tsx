/** The condition as JSON: what is valid is in the builder at once. */
import { Textarea } from "@mantine/core";
import { useState } from "react";
import type { Condition } from "@/api/segments";
import { type Group, isComplete, readCondition, writeCondition } from "./condition";
import { t } from "./texts";

interface Props {
  condition: Group;
  change: (next: Group) => void;
}

const show = (group: Group): string => {
  // A row of JSON that is not finished cannot be written; the others can.
  const nodes = group.nodes.filter((node) => isComplete(node) || "nodes" in node || node.leaf.kind !== "raw");
  return JSON.stringify(writeCondition({ ...group, nodes }), null, 2);
};

export function JsonView({ condition, change }: Props) {
  const [text, setText] = useState(() => show(condition));
  const [error, setError] = useState<string>();

  function type(next: string) {
    setText(next);
    try {
      const value: unknown = JSON.parse(next);
      if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error(next.slice(0, 20));
      setError(undefined);
      change(readCondition(value as Condition));
    } catch (problem) {
      setError(t("invalidJson", { message: problem instanceof Error ? problem.message : "" }));
    }
  }

  return (
    <Textarea
      label={t("jsonLabel")}
      description={t("jsonHint")}
      value={text}
      onChange={(event) => type(event.currentTarget.value)}
      error={error}
      rows={Math.min(24, Math.max(8, text.split("\n").length + 1))}
      styles={{ input: { fontFamily: "monospace" } }}
      spellCheck={false}
    />
  );
}
