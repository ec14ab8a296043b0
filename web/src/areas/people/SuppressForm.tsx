/** Suppresses an address by hand. */
import { Button, Group, NativeSelect, Stack, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { suppress } from "@/api/suppressions";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { toast } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { CHANNELS } from "./suppressions";
import { t } from "./texts";

export function SuppressForm({ close }: { close: () => void }) {
  const queries = useQueryClient();
  const form = useForm({
    initial: { channel: "email", address: "", reason: "manual", detail: "" },
    checks: {
      address: (address) => (address.trim() ? undefined : t("addressNeeded")),
      reason: (reason) => (/^[a-z][a-z0-9_]{0,63}$/.test(reason) ? undefined : t("reasonNeeded")),
    },
    send: ({ detail, ...values }) => suppress({ ...values, ...(detail.trim() && { detail: detail.trim() }) }),
    done: ({ address }) => {
      toast(t("suppressedNow", { address }));
      void queries.invalidateQueries({ queryKey: ["suppressions"] });
      close();
    },
  });
  useGuard(form.changed && !form.pending && form.result === undefined);
  return (
    <Section title={t("suppress")} lead={t("suppressLead")}>
      <form {...form.form} aria-label={t("suppress")}>
        <Stack maw={420}>
          <NativeSelect {...form.field("channel")} label={t("channel")} data={CHANNELS} />
          <TextInput {...form.field("address")} label={t("address")} maxLength={320} />
          <TextInput {...form.field("reason")} label={t("why")} description={t("reasonHint")} maxLength={64} />
          <TextInput {...form.field("detail")} label={t("detail")} description={t("detailHint")} maxLength={500} />
          <FormProblem problem={form.problem} />
          <Group>
            <Button type="submit" loading={form.pending}>
              {t("suppress")}
            </Button>
            <Button variant="default" onClick={close}>
              {t("cancel")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Section>
  );
}
