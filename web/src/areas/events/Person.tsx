/** A link to the person of an event. */
import { Anchor, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { t } from "./texts";

export function Person({ id, name }: { id: string | null; name?: string }) {
  if (!id) {
    return (
      <Text size="sm" c="dimmed">
        {t("nobody")}
      </Text>
    );
  }
  return (
    <Anchor component={Link} to={`/people/${id}` as never} size="sm" style={{ overflowWrap: "anywhere" }}>
      {name ?? id}
    </Anchor>
  );
}
