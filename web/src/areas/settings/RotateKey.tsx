/** Replaces an API key by a new one; the old one is accepted for a while longer. */
import { Button, Group, NativeSelect, Stack, Text } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type ApiKey, rotateKey } from "@/api/keys";
import { FormProblem } from "@/parts/FormProblem";
import { SecretOnce } from "@/parts/SecretOnce";
import { useForm } from "@/parts/useForm";
import { t } from "./texts";

const HOURS = [24, 1, 168, 720, 0] as const;

export function RotateKey({ apiKey: { id, name }, close }: { apiKey: ApiKey; close: () => void }) {
  const queries = useQueryClient();
  const form = useForm({
    initial: { overlap_hours: "24" },
    send: ({ overlap_hours }) => rotateKey(id, Number(overlap_hours)),
    done: () => void queries.invalidateQueries({ queryKey: ["keys"] }),
  });
  if (form.result) {
    return (
      <SecretOnce label={t("keyCreated", { name })} text={`WAYPOST_API_KEY=${form.result.key}`}>
        <div>
          <Button size="xs" onClick={close}>
            {t("done")}
          </Button>
        </div>
      </SecretOnce>
    );
  }
  return (
    <form {...form.form} aria-label={t("rotateTitle", { name })}>
      <Stack maw={520}>
        <Text size="sm">{t("rotateTitle", { name })}</Text>
        <Text size="sm" c="dimmed">
          {t("rotateLead")}
        </Text>
        <NativeSelect
          {...form.field("overlap_hours")}
          label={t("overlap")}
          data={HOURS.map((n) => ({ value: String(n), label: t("overlap_hours", { n }) }))}
        />
        <FormProblem problem={form.problem} />
        <Group>
          <Button type="submit" loading={form.pending}>
            {t("rotate")}
          </Button>
          <Button variant="default" onClick={close}>
            {t("cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
