/** A link to the person of an event. */
import { Anchor, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { type Named, personName } from "@/parts/personName";
import { t } from "./texts";

export function Person({ id, person }: { id: string | null; person: Named | null | undefined }) {
  const to = person?.id ?? id;
  if (!to) {
    return (
      <Text size="sm" c="dimmed">
        {t("nobody")}
      </Text>
    );
  }
  return (
    <Anchor component={Link} to={`/people/${to}` as never} size="sm" style={{ overflowWrap: "anywhere" }}>
      {person ? personName(person) : to}
    </Anchor>
  );
}
