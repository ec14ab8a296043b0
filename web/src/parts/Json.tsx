/** A value as JSON: text, never HTML. A long one is cut until it is asked for. */
import { Button, Stack } from "@mantine/core";
import { useMemo, useState } from "react";
import { formatBytes } from "@/locales/format";
import { CodeBlock } from "./CodeBlock";
import { t } from "./texts";

const LONG = 20_000;

export function Json({ value, label }: { value: unknown; label?: string }) {
  const [all, setAll] = useState(false);
  const text = useMemo(() => JSON.stringify(value, null, 2) ?? "null", [value]);
  const cut = !all && text.length > LONG;
  return (
    <Stack gap="xs" align="flex-start">
      <CodeBlock
        text={cut ? `${text.slice(0, LONG)}…` : text}
        label={label}
        hiddenLabel={label ? undefined : t("json")}
      />
      {cut && (
        <Button variant="default" size="xs" onClick={() => setAll(true)}>
          {t("showAll", { size: formatBytes(text.length) })}
        </Button>
      )}
    </Stack>
  );
}
