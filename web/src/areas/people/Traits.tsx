/** The traits of a person, and a form that changes them. */
import { Button, Group, Stack, Text, Textarea } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useMay } from "@/api/me";
import { changePerson, type Person } from "@/api/people";
import { Details, Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { toast } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { t } from "./texts";

const show = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));

export function Traits({ person }: { person: Person }) {
  const [changing, setChanging] = useState(false);
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

function ChangeTraits({ person, close }: { person: Person; close: () => void }) {
  const queries = useQueryClient();
  const form = useForm({
    initial: { traits: JSON.stringify(person.traits, null, 2) },
    send: ({ traits }) => changePerson(person.id, { traits: parse(traits) }),
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
    done: () => {
      toast(t("saved"));
      close();
      void queries.invalidateQueries({ queryKey: ["people"] });
    },
  });
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
