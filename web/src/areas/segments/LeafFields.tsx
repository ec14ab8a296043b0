/** One condition as a sentence: what it is about, and the words that say it. */
import { NativeSelect, Text, Textarea, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useId } from "react";
import { someListsQuery } from "@/api/lists";
import { tagsQuery } from "@/api/people";
import { allSegmentsQuery } from "@/api/segments";
import classes from "./Builder.module.css";
import { type Kind, type Leaf, newLeaf } from "./condition";
import { EventFields } from "./EventFields";
import { TestFields } from "./TestFields";
import { t } from "./texts";

interface Props {
  leaf: Leaf;
  change: (next: Leaf) => void;
  at: string;
}

const KINDS: readonly Kind[] = ["trait", "event", "list", "tag", "subscribed", "segment"];
/** What everybody may have; other traits are typed. */
const KNOWN = [
  "email",
  "phone",
  "user_id",
  "first_name",
  "last_name",
  "city",
  "region",
  "country",
  "language",
  "timezone",
  "birthday",
  "gender",
];

export function LeafFields({ leaf, change, at }: Props) {
  const kinds = leaf.kind === "raw" ? [...KINDS, "raw" as const] : KINDS;
  return (
    <fieldset aria-label={t("conditionOf", { at })} className={classes.row}>
      <div className={classes.sentence}>
        <NativeSelect
          size="xs"
          aria-label={t("kind")}
          value={leaf.kind}
          onChange={(event) => change(newLeaf(event.currentTarget.value as Kind))}
          data={kinds.map((kind) => ({ value: kind, label: t(`kind_${kind}`) }))}
        />
        <Words leaf={leaf} change={change} at={at} />
      </div>
    </fieldset>
  );
}

function Words({ leaf, change, at }: Props) {
  const id = useId();
  switch (leaf.kind) {
    case "trait":
      return (
        <>
          <TextInput
            size="xs"
            aria-label={t("traitName")}
            placeholder={t("traitName")}
            value={leaf.name}
            onChange={(event) => change({ ...leaf, name: event.currentTarget.value })}
            list={id}
          />
          <datalist id={id}>
            {KNOWN.map((name) => (
              <option key={name} value={name} />
            ))}
          </datalist>
          <TestFields test={leaf} change={(test) => change({ ...leaf, ...test })} />
        </>
      );
    case "event":
      return <EventFields leaf={leaf} change={change} />;
    case "raw":
      return (
        <Textarea
          aria-label={t("rawCondition", { at })}
          description={t("rawHint")}
          value={leaf.text}
          onChange={(event) => change({ ...leaf, text: event.currentTarget.value })}
          rows={4}
          styles={{ input: { fontFamily: "monospace" } }}
          spellCheck={false}
        />
      );
    default:
      return <Choice leaf={leaf} change={change} />;
  }
}

type Chosen = Extract<Leaf, { kind: "list" | "tag" | "subscribed" | "segment" }>;

function Choice({ leaf, change }: { leaf: Chosen; change: (next: Leaf) => void }) {
  const lists = useQuery({ ...someListsQuery, enabled: leaf.kind === "list" }).data?.data ?? [];
  const segments = useQuery({ ...allSegmentsQuery, enabled: leaf.kind === "segment" }).data?.data ?? [];
  const tags = useQuery({ ...tagsQuery, enabled: leaf.kind === "tag" }).data?.data ?? [];
  const id = useId();
  const set = (name: string) => change({ ...leaf, name });
  const words = { list: "onList", tag: "hasTag", subscribed: "subscribedTo", segment: "inSegment" } as const;
  const label = { list: "list", tag: "tag", subscribed: "channel", segment: "segment" } as const;
  const options = {
    list: lists.map((one) => ({ value: one.id, label: one.name })),
    segment: segments.map((one) => ({ value: one.id, label: one.name })),
    subscribed: [
      { value: "email", label: t("email") },
      { value: "sms", label: t("sms") },
    ],
    tag: [],
  }[leaf.kind];
  // What is chosen stays to be seen while the names load, or when it is gone.
  const shown =
    leaf.name && !options.some(({ value }) => value === leaf.name)
      ? [{ value: leaf.name, label: leaf.name }, ...options]
      : options;
  return (
    <>
      <Text size="sm">{t(words[leaf.kind])}</Text>
      {leaf.kind === "tag" ? (
        <>
          <TextInput
            size="xs"
            aria-label={t("tag")}
            value={leaf.name}
            onChange={(event) => set(event.currentTarget.value)}
            list={id}
          />
          <datalist id={id}>
            {tags.map(({ tag }) => (
              <option key={tag} value={tag} />
            ))}
          </datalist>
        </>
      ) : (
        <NativeSelect
          size="xs"
          aria-label={t(label[leaf.kind])}
          value={leaf.name}
          onChange={(event) => set(event.currentTarget.value)}
          data={leaf.kind === "subscribed" ? shown : [{ value: "", label: t("choose") }, ...shown]}
        />
      )}
    </>
  );
}
