/** Sends a campaign to a few addresses, to look at it. */
import { Button, Group, TextInput } from "@mantine/core";
import { testCampaign } from "@/api/campaigns";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { toast } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { t } from "./texts";

interface Props {
  id: string;
  /** Whose data the messages are rendered with. */
  person: string | undefined;
}

export function TestForm({ id, person }: Props) {
  const form = useForm({
    initial: { to: "" },
    send: ({ to }) =>
      testCampaign(id, {
        to: to
          .split(",")
          .map((one) => one.trim())
          .filter(Boolean),
        ...(person && { profile_id: person }),
      }),
    done: ({ data }) => toast(t("testSent", { n: data.length })),
  });
  return (
    <Section title={t("test")} lead={t(person ? "testAs" : "testAsNobody")}>
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
