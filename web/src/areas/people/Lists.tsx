/** The lists that a person is or was on. */
import { Anchor, Group, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type Person, personListsQuery } from "@/api/people";
import { Section } from "@/parts/Details";
import { States } from "@/parts/States";
import { Status } from "@/parts/Status";
import { Time } from "@/parts/Time";
import { t } from "./texts";

export function Lists({ person }: { person: Person }) {
  const lists = useQuery(personListsQuery(person.id));
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
    </Section>
  );
}
