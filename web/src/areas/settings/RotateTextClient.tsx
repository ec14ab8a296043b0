/** Gives a text client a new secret, which is shown once; the old one is accepted for a while longer. */
import { Button, Group, NativeSelect, Stack, Text } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { rotateTextClient, type TextClient } from "@/api/textClients";
import { useEdit } from "@/parts/Edited";
import { FormProblem } from "@/parts/FormProblem";
import { SecretOnce } from "@/parts/SecretOnce";
import { useForm } from "@/parts/useForm";
import { headersOf } from "./textClient";
import { t } from "./textClientTexts";

const SECONDS = ["86400", "3600", "604800", "0"] as const;

export function RotateTextClient({ client: { id, name }, close }: { client: TextClient; close: () => void }) {
  const queries = useQueryClient();
  const { saved } = useEdit();
  const form = useForm({
    initial: { overlap_s: "86400" },
    send: ({ overlap_s }) => rotateTextClient(id, Number(overlap_s)),
    done: ({ updated_at }) => {
      saved(updated_at);
      void queries.invalidateQueries({ queryKey: ["text-clients"] });
    },
  });
  if (form.result) {
    const { client_id, client_secret } = form.result;
    return (
      <SecretOnce label={t("textRotated", { name })} text={headersOf(client_id, client_secret)}>
        <div>
          <Button size="xs" onClick={close}>
            {t("done")}
          </Button>
        </div>
      </SecretOnce>
    );
  }
  return (
    <form {...form.form} aria-label={t("rotateSecretOf", { name })}>
      <Stack maw={520}>
        <Text size="sm">{t("rotateSecretLead")}</Text>
        <NativeSelect
          {...form.field("overlap_s")}
          label={t("overlap")}
          data={SECONDS.map((value) => ({ value, label: t(`overlap_${value}`) }))}
        />
        <FormProblem problem={form.problem} />
        <Group>
          <Button type="submit" loading={form.pending}>
            {t("rotateSecret")}
          </Button>
          <Button variant="default" onClick={close}>
            {t("cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
