/** Makes a client of the text-message API, and shows its secret once. */
import { Button, Group, Stack, Text } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { createTextClient } from "@/api/textClients";
import { FormProblem } from "@/parts/FormProblem";
import { SecretOnce } from "@/parts/SecretOnce";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { TextClientFields } from "./TextClientFields";
import { CHECKS, headersOf, NAMES, NEW, writeTextClient } from "./textClient";
import { t } from "./textClientTexts";

export function NewTextClient({ close }: { close: () => void }) {
  const queries = useQueryClient();
  const form = useForm({
    initial: NEW,
    checks: CHECKS,
    names: NAMES,
    send: (values) => createTextClient(writeTextClient(values)),
    done: () => void queries.invalidateQueries({ queryKey: ["text-clients"] }),
  });
  useGuard(form.changed && !form.pending);
  const made = form.result;
  if (made) {
    return (
      <SecretOnce label={t("textCreated", { name: made.name })} text={headersOf(made.client_id, made.client_secret)}>
        <Text size="sm">{t("textHeaders")}</Text>
        <div>
          <Button size="xs" onClick={close}>
            {t("done")}
          </Button>
        </div>
      </SecretOnce>
    );
  }
  return (
    <form {...form.form} aria-label={t("newText")}>
      <Stack>
        <TextClientFields form={form} />
        <FormProblem problem={form.problem} />
        <Group>
          <Button type="submit" loading={form.pending}>
            {t("createText")}
          </Button>
          <Button variant="default" onClick={close}>
            {t("cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
