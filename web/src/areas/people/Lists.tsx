/** The lists that a person is or was on, and a form that adds the person to another. */
import { Anchor, Button, Group, NativeSelect, Stack, Text } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { addMembers, someListsQuery } from "@/api/lists";
import { useMay } from "@/api/me";
import { type Person, personListsQuery } from "@/api/people";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { States } from "@/parts/States";
import { Status } from "@/parts/Status";
import { Time } from "@/parts/Time";
import { toast } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { t } from "./texts";

export function Lists({ person }: { person: Person }) {
  const lists = useQuery(personListsQuery(person.id));
  const may = useMay()("people.write");
  return (
    <Section title={t("onLists")}>
      <States query={lists} isEmpty={() => false}>
        {({ data }) =>
          data.length === 0 ? (
            <Text size="sm" c="dimmed">
              {t("noLists")}
            </Text>
          ) : (
            <Stack component="ul" gap="xs" m={0} p={0} style={{ listStyle: "none" }}>
              {data.map((one) => (
                <li key={one.id}>
                  <Group gap="xs">
                    <Anchor component={Link} to="/people/lists/$id" params={{ id: one.id } as never}>
                      {one.name}
                    </Anchor>
                    <Status value={one.state} />
                    <Text size="sm" c="dimmed">
                      {one.source} · <Time at={one.changed_at} />
                    </Text>
                  </Group>
                </li>
              ))}
            </Stack>
          )
        }
      </States>
      {may && lists.data && <AddToList person={person} on={lists.data.data} />}
    </Section>
  );
}

function AddToList({ person, on }: { person: Person; on: { id: string; state: string }[] }) {
  const queries = useQueryClient();
  const all = useQuery(someListsQuery);
  const form = useForm({
    initial: { list: "" },
    send: ({ list }) => addMembers(list, [{ profile_id: person.id }]),
    done: ({ data }, { list }) => {
      const name = all.data?.data.find(({ id }) => id === list)?.name ?? list;
      toast(t(data[0]?.state === "pending" ? "addedPending" : "addedToList", { name }));
      form.reset();
      void queries.invalidateQueries({ queryKey: ["people", person.id] });
      void queries.invalidateQueries({ queryKey: ["lists"] });
    },
  });
  // Who has left a list can be put on it again.
  const has = new Set(on.filter(({ state }) => state !== "unsubscribed").map(({ id }) => id));
  const others = (all.data?.data ?? []).filter(({ id }) => !has.has(id));
  if (others.length === 0) return null;
  return (
    <form {...form.form} aria-label={t("addToList")}>
      <Group align="flex-end" gap="xs" mt="sm">
        <NativeSelect
          {...form.field("list")}
          label={t("list")}
          size="xs"
          data={[{ value: "", label: t("chooseList") }, ...others.map(({ id, name }) => ({ value: id, label: name }))]}
        />
        <Button type="submit" size="xs" variant="default" loading={form.pending} disabled={!form.values.list}>
          {t("addToList")}
        </Button>
      </Group>
      <FormProblem problem={form.problem} />
    </form>
  );
}
