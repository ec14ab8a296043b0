/** A secret that the API shows once: to be copied now. */
import { Alert, Stack, Text } from "@mantine/core";
import { IconKey } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { CodeBlock } from "./CodeBlock";
import { t } from "./texts";

export function SecretOnce({ label, text, children }: { label: string; text: string; children?: ReactNode }) {
  return (
    <Alert color="yellow" icon={<IconKey aria-hidden />} title={label} role="status">
      <Stack gap="xs">
        <Text size="sm">{t("shownOnce")}</Text>
        <CodeBlock text={text} hiddenLabel={label} wrap />
        {children}
      </Stack>
    </Alert>
  );
}
