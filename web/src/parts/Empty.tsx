/** A list that has nothing yet: what it is for, what to do, where to read on, and the same as a command. */
import { Anchor, Group, Paper, Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { CodeBlock } from "./CodeBlock";
import { t } from "./texts";

export interface EmptyProps {
  title: string;
  /** One sentence: what this is for. */
  hint?: ReactNode;
  /** The button that makes the first one. */
  children?: ReactNode;
  /** The page of the documentation. */
  guide?: string;
  /** The same in a terminal. */
  example?: string;
}

export function Empty({ title, hint, children, guide, example }: EmptyProps) {
  return (
    <Paper withBorder p="xl" radius="md">
      <Stack align="flex-start" gap="sm">
        <Title order={2} size="h4">
          {title}
        </Title>
        {hint && <Text c="dimmed">{hint}</Text>}
        <Group gap="md">
          {children}
          {guide && (
            <Anchor href={guide} target="_blank" rel="noopener noreferrer">
              {t("guide")}
            </Anchor>
          )}
        </Group>
        {example && <CodeBlock label={t("example")} text={example} />}
      </Stack>
    </Paper>
  );
}
