/** The sentence about an event: which, how often, when, and where which property has which value. */
import { ActionIcon, Button, NativeSelect, Text, TextInput } from "@mantine/core";
import { IconX } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useId } from "react";
import { metricNamesQuery } from "@/api/segments";
import classes from "./Builder.module.css";
import { type Leaf, newKey, type Often } from "./condition";
import { TestFields } from "./TestFields";
import { t } from "./texts";

type Event = Extract<Leaf, { kind: "event" }>;
const OFTEN: readonly Often[] = ["at_least", "at_most", "exactly", "never"];
const UNITS = ["h", "d", "w"] as const;

export function EventFields({ leaf, change }: { leaf: Event; change: (next: Leaf) => void }) {
  const id = useId();
  const metrics = useQuery(metricNamesQuery).data?.data ?? [];
  const length = leaf.within.slice(0, -1) || "30";
  const unit = leaf.within.slice(-1) || "d";
  return (
    <>
      <TextInput
        size="xs"
        aria-label={t("eventName")}
        placeholder={t("eventName")}
        value={leaf.name}
        onChange={(event) => change({ ...leaf, name: event.currentTarget.value })}
        list={id}
      />
      <datalist id={id}>
        {metrics.map((metric) => (
          <option key={metric.id} value={metric.event_type ?? metric.name} />
        ))}
      </datalist>
      <NativeSelect
        size="xs"
        aria-label={t("often")}
        value={leaf.often}
        onChange={(event) => change({ ...leaf, often: event.currentTarget.value as Often })}
        data={OFTEN.map((one) => ({ value: one, label: t(`often_${one}`) }))}
      />
      {leaf.often !== "never" && (
        <>
          <TextInput
            size="xs"
            className={classes.narrow}
            inputMode="numeric"
            aria-label={t("times")}
            value={leaf.times}
            onChange={(event) => change({ ...leaf, times: event.currentTarget.value })}
          />
          <Text size="sm">{t("timesWord")}</Text>
        </>
      )}
      <NativeSelect
        size="xs"
        aria-label={t("period")}
        value={leaf.within ? "within" : "ever"}
        onChange={(event) =>
          change({ ...leaf, within: event.currentTarget.value === "ever" ? "" : `${length}${unit}` })
        }
        data={[
          { value: "ever", label: t("period_ever") },
          { value: "within", label: t("period_within") },
        ]}
      />
      {leaf.within && (
        <>
          <TextInput
            size="xs"
            className={classes.narrow}
            type="number"
            min={1}
            aria-label={t("length")}
            value={length}
            onChange={(event) => change({ ...leaf, within: `${Number(event.currentTarget.value) || 1}${unit}` })}
          />
          <NativeSelect
            size="xs"
            aria-label={t("unit")}
            value={unit}
            onChange={(event) => change({ ...leaf, within: `${length}${event.currentTarget.value}` })}
            data={UNITS.map((one) => ({ value: one, label: t(`unit_${one}`) }))}
          />
        </>
      )}
      {leaf.where.map((one, index) => (
        <div key={one.key} className={classes.sentence}>
          <Text size="sm">{t("where")}</Text>
          <TextInput
            size="xs"
            aria-label={t("property")}
            placeholder={t("property")}
            value={one.name}
            onChange={(event) =>
              change({ ...leaf, where: leaf.where.with(index, { ...one, name: event.currentTarget.value }) })
            }
          />
          <TestFields
            test={one}
            change={(test) => change({ ...leaf, where: leaf.where.with(index, { ...one, ...test }) })}
          />
          <ActionIcon
            variant="subtle"
            color="gray"
            aria-label={t("removeWhere", { name: one.name })}
            onClick={() => change({ ...leaf, where: leaf.where.toSpliced(index, 1) })}
          >
            <IconX size={16} aria-hidden />
          </ActionIcon>
        </div>
      ))}
      <Button
        size="compact-xs"
        variant="subtle"
        onClick={() =>
          change({ ...leaf, where: [...leaf.where, { key: newKey(), name: "", operator: "is", value: "" }] })
        }
      >
        {t("addWhere")}
      </Button>
    </>
  );
}
