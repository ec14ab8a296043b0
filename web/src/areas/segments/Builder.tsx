/** The condition of a segment as rows that read as sentences, in groups within groups. */
import { ActionIcon, Button, Group as Line, NativeSelect, Text } from "@mantine/core";
import { IconArrowDown, IconArrowUp, IconCopy, IconTrash } from "@tabler/icons-react";
import classes from "./Builder.module.css";
import { type Group, isGroup, type Node, newGroup, newKey, newRow } from "./condition";
import { LeafFields } from "./LeafFields";
import { t } from "./texts";

interface Props {
  group: Group;
  change: (next: Group) => void;
  /** Where it stands: 1.2 is the second part of the first. Empty for the root. */
  at?: string;
}

/** A copy with keys of its own. */
function copy(node: Node): Node {
  return isGroup(node)
    ? { ...node, key: newKey(), nodes: node.nodes.map(copy) }
    : { ...node, key: newKey(), leaf: structuredClone(node.leaf) };
}

export function Builder({ group, change, at = "" }: Props) {
  const set = (nodes: Node[]) => change({ ...group, nodes });
  const replace = (index: number, ...by: Node[]) => set(group.nodes.toSpliced(index, 1, ...by));

  function move(index: number, by: number) {
    const node = group.nodes[index] as Node;
    set(group.nodes.toSpliced(index, 1).toSpliced(index + by, 0, node));
  }

  return (
    <fieldset className={classes.group}>
      <legend className={classes.legend}>{at ? t("group", { at }) : t("who")}</legend>
      <NativeSelect
        size="xs"
        aria-label={at ? `${t("holds")} (${at})` : t("holds")}
        className={classes.mode}
        value={group.mode}
        onChange={(event) => change({ ...group, mode: event.currentTarget.value as Group["mode"] })}
        data={[
          { value: "all", label: t("allOf") },
          { value: "any", label: t("anyOf") },
        ]}
      />
      {group.nodes.length === 0 && (
        <Text size="sm" c="dimmed">
          {t("everybody")}
        </Text>
      )}
      <ol className={classes.nodes}>
        {group.nodes.map((node, index) => {
          const place = at ? `${at}.${index + 1}` : String(index + 1);
          return (
            <li key={node.key} className={classes.node}>
              <div className={classes.content}>
                {isGroup(node) ? (
                  <Builder group={node} change={(next) => replace(index, next)} at={place} />
                ) : (
                  <LeafFields leaf={node.leaf} change={(leaf) => replace(index, { ...node, leaf })} at={place} />
                )}
              </div>
              <Line gap={4} className={classes.tools}>
                <Button
                  size="compact-xs"
                  variant={node.not ? "filled" : "default"}
                  aria-pressed={node.not}
                  aria-label={t("negate", { at: place })}
                  onClick={() => replace(index, { ...node, not: !node.not })}
                >
                  {t("not")}
                </Button>
                <Tool name={t("up", { at: place })} run={() => move(index, -1)} disabled={index === 0}>
                  <IconArrowUp size={16} aria-hidden />
                </Tool>
                <Tool
                  name={t("down", { at: place })}
                  run={() => move(index, 1)}
                  disabled={index === group.nodes.length - 1}
                >
                  <IconArrowDown size={16} aria-hidden />
                </Tool>
                <Tool name={t("duplicate", { at: place })} run={() => replace(index, node, copy(node))}>
                  <IconCopy size={16} aria-hidden />
                </Tool>
                <Tool name={t("remove", { at: place })} run={() => replace(index)}>
                  <IconTrash size={16} aria-hidden />
                </Tool>
              </Line>
            </li>
          );
        })}
      </ol>
      <Line gap="xs">
        <Button
          size="xs"
          variant="default"
          aria-label={at ? t("addOf", { at }) : undefined}
          onClick={() => set([...group.nodes, newRow()])}
        >
          {t("add")}
        </Button>
        <Button
          size="xs"
          variant="default"
          aria-label={at ? t("addGroupOf", { at }) : undefined}
          onClick={() => set([...group.nodes, newGroup(group.mode === "all" ? "any" : "all", [newRow()])])}
        >
          {t("addGroup")}
        </Button>
      </Line>
    </fieldset>
  );
}

interface ToolProps {
  name: string;
  run: () => void;
  disabled?: boolean;
  children: React.ReactNode;
}

function Tool({ name, run, disabled, children }: ToolProps) {
  return (
    <ActionIcon
      variant="subtle"
      size="md"
      color="gray"
      aria-label={name}
      title={name}
      onClick={run}
      disabled={disabled}
    >
      {children}
    </ActionIcon>
  );
}
