/** Why something failed: the code, what it means, what to do. */
import { Badge, Group, Text } from "@mantine/core";
import type { ReactNode } from "react";

interface Props {
  code?: string | number | null;
  /** The words of the API. */
  text?: string | null;
  /** What to do about it. */
  fix?: ReactNode;
}

export function Reason({ code, text, fix }: Props) {
  if (!text && (code === null || code === undefined)) return null;
  return (
    <div>
      <Group gap="xs" wrap="nowrap" align="baseline">
        {code !== null && code !== undefined && (
          <Badge color="red" variant="light" tt="none" miw="max-content">
            {code}
          </Badge>
        )}
        {text && (
          <Text size="sm" style={{ overflowWrap: "anywhere" }}>
            {text}
          </Text>
        )}
      </Group>
      {fix && (
        <Text size="sm" c="dimmed">
          {fix}
        </Text>
      )}
    </div>
  );
}
