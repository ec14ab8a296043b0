/** The traits of a person, and a form that changes them. */
import { Button, Group, Stack, Text, Textarea } from "@mantine/core";
import { useState } from "react";
import { useMay } from "@/api/me";
import { changePerson, type Person } from "@/api/people";
import { Details, Section } from "@/parts/Details";
import { useEdit } from "@/parts/Edited";
import { FormProblem } from "@/parts/FormProblem";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { t } from "./texts";
import { type Changing, useChanged } from "./useChanged";

const show = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));

export function Traits({ person, changing, setChanging }: Changing) {
  const may = useMay()("people.write");
  const names = Object.keys(person.traits).sort();
  return (
    <Section
      title={t("traits")}
      lead={t("traitsLead")}
      actions={
        may &&
        !changing && (
          <Button variant="default" size="xs" onClick={() => setChanging(true)}>
            {t("edit")}
          </Button>
        )
      }
    >
      {changing ? (
        <ChangeTraits person={person} close={() => setChanging(false)} />
      ) : names.length === 0 ? (
        <Text size="sm" c="dimmed">
          {t("noTraits")}
        </Text>
      ) : (
        <Details rows={names.map((name) => [name, show(person.traits[name])] as const)} />
      )}
    </Section>
  );
}

function parse(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error(text.slice(0, 20));
  return value as Record<string, unknown>;
}

/** Returns the traits that differ: the others may have been changed by somebody else meanwhile. */
function changedOf(before: Record<string, unknown>, now: Record<string, unknown>): Record<string, unknown> {
  const differs = ([name, value]: [string, unknown]) => JSON.stringify(value) !== JSON.stringify(before[name]);
  return Object.fromEntries(Object.entries(now).filter(differs));
}

function ChangeTraits({ person, close }: { person: Person; close: () => void }) {
  const { version } = useEdit();
  const changed = useChanged(person, close);
  // What the text was made of, also when somebody else's version is known by now.
  const [start] = useState(person.traits);
  const form = useForm({
    initial: { traits: JSON.stringify(start, null, 2) },
    send: ({ traits }) => changePerson(person.id, { traits: changedOf(start, parse(traits)) }, version),
    checks: {
      traits: (text) => {
        try {
          parse(text);
          return undefined;
        } catch (error) {
          return t("invalidJson", { message: error instanceof Error ? error.message : "" });
        }
      },
    },
    done: changed,
  });
  useGuard(form.changed && !form.pending);
  return (
    <form {...form.form} aria-label={t("traits")}>
      <Stack>
        <Textarea
          {...form.field("traits")}
          label={t("traitsJson")}
          description={t("traitsJsonHint")}
          rows={Math.min(16, form.values.traits.split("\n").length + 1)}
          styles={{ input: { fontFamily: "monospace" } }}
          spellCheck={false}
        />
        <FormProblem problem={form.problem} />
        <Group>
          <Button type="submit" loading={form.pending}>
            {t("save")}
          </Button>
          <Button variant="default" onClick={close}>
            {t("cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
