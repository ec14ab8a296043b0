/** Sends a campaign to a few addresses, to look at it. */
import { Button, Group, TextInput } from "@mantine/core";
import { testCampaign } from "@/api/campaigns";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { toast } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { t } from "./texts";

export function TestForm({ id }: { id: string }) {
  const form = useForm({
    initial: { to: "" },
    send: ({ to }) =>
      testCampaign(id, {
        to: to
          .split(",")
          .map((one) => one.trim())
          .filter(Boolean),
      }),
    done: ({ data }) => toast(t("testSent", { n: data.length })),
  });
  return (
    <Section title={t("test")}>
      <form {...form.form} aria-label={t("test")}>
        <Group align="flex-end">
          <TextInput {...form.field("to")} label={t("testTo")} miw={280} />
          <Button type="submit" variant="default" loading={form.pending} disabled={!form.values.to.trim()}>
            {t("testSend")}
          </Button>
        </Group>
        <FormProblem problem={form.problem} />
      </form>
    </Section>
  );
}
