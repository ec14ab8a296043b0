/** The identifiers of a person, and a form that adds one. */
import { Button, Group, Stack, TextInput } from "@mantine/core";
import { useMay } from "@/api/me";
import { changePerson, type Person } from "@/api/people";
import { CopyButton } from "@/parts/CopyButton";
import { Details, Section } from "@/parts/Details";
import { useEdit } from "@/parts/Edited";
import { FormProblem } from "@/parts/FormProblem";
import { Time } from "@/parts/Time";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { t } from "./texts";
import { type Changing, useChanged } from "./useChanged";

export function Identifiers({ person, changing, setChanging }: Changing) {
  const may = useMay()("people.write");
  const all = (values: string[]) =>
    values.length === 0
      ? undefined
      : values.map((value) => (
          <div key={value}>
            {value} <CopyButton text={value} what={value} />
          </div>
        ));
  return (
    <Section
      title={t("identifiers")}
      actions={
        may &&
        !changing && (
          <Button variant="default" size="xs" onClick={() => setChanging(true)}>
            {t("addIdentifier")}
          </Button>
        )
      }
    >
      <Details
        rows={[
          [t("email"), all(person.emails)],
          [t("phone"), all(person.phones)],
          [t("userId"), all(person.user_ids)],
          [t("anonymousIds"), all(person.anonymous_ids)],
          [t("id"), all([person.id])],
          [t("merged"), all(person.merged_ids)],
          [t("created"), <Time key="created" at={person.created_at} exact />],
          [t("changed"), <Time key="changed" at={person.updated_at} exact />],
        ]}
      />
      {changing && <AddIdentifier person={person} close={() => setChanging(false)} />}
    </Section>
  );
}

function AddIdentifier({ person, close }: { person: Person; close: () => void }) {
  const { version } = useEdit();
  const changed = useChanged(person, close);
  const form = useForm({
    initial: { email: "", phone: "", user_id: "" },
    send: (values) => {
      const typed = Object.entries(values).map(([name, value]) => [name, value.trim()] as const);
      return changePerson(person.id, Object.fromEntries(typed.filter(([, value]) => value !== "")), version);
    },
    done: changed,
  });
  useGuard(form.changed && !form.pending);
  return (
    <form {...form.form} aria-label={t("addIdentifier")}>
      <Stack maw={420} mt="md">
        <TextInput {...form.field("email")} label={t("email")} description={t("addIdentifierHint")} type="email" />
        <TextInput {...form.field("phone")} label={t("phone")} type="tel" />
        <TextInput {...form.field("user_id")} label={t("userId")} />
        <FormProblem problem={form.problem} />
        <Group>
          <Button type="submit" loading={form.pending} disabled={!form.changed}>
            {t("add")}
          </Button>
          <Button variant="default" onClick={close}>
            {t("cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
