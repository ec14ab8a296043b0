/** Sends what is being written to an address, to look at it where it is read. */
import { Anchor, Button, Group, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { Schemas } from "@/api/client";
import { useMay } from "@/api/me";
import { messageQuery, sendMessage } from "@/api/messages";
import type { Activity } from "@/api/metrics";
import type { TemplateContent } from "@/api/templates";
import { Section } from "@/parts/Details";
import { FormProblem } from "@/parts/FormProblem";
import { Status } from "@/parts/Status";
import { useForm } from "@/parts/useForm";
import { useLive } from "@/parts/useLive";
import { eventValues } from "./EventField";
import { t } from "./texts";

interface Props {
  channel: string;
  content: TemplateContent;
  person: string | undefined;
  event: Activity | undefined;
}

export function TestForm({ channel, content, person, event }: Props) {
  const form = useForm({
    initial: { to: "" },
    checks: { to: (to) => (to.trim() ? undefined : t("testAddress")) },
    // With `variables`, the content is a template also when no person is named.
    send: ({ to }) =>
      sendMessage({
        ...(content as Schemas["MessageRequest"]),
        channel,
        to: to.trim(),
        test: true,
        variables: {} as never,
        ...(person && { profile_id: person }),
        ...(event && { event: eventValues(event) as never }),
      }),
  });
  return (
    <Section title={t("sendTest")} lead={t("sendTestLead")}>
      <form {...form.form} aria-label={t("sendTest")}>
        <Group align="flex-end">
          <TextInput
            {...form.field("to")}
            label={t("testTo", { channel })}
            type={channel === "email" ? "email" : channel === "sms" ? "tel" : "text"}
            miw={240}
          />
          <Button type="submit" variant="default" loading={form.pending}>
            {t("testSend")}
          </Button>
        </Group>
        <FormProblem problem={form.problem} />
        {form.result && <Sent id={form.result.id} status={form.result.status} />}
      </form>
    </Section>
  );
}

/** How far the test is. */
function Sent({ id, status }: { id: string; status: string }) {
  const may = useMay()("messages.read");
  const message = useQuery({ ...messageQuery(id), enabled: may }).data;
  useLive(["messages", id]);
  return (
    <Group gap="xs" mt="xs" role="status">
      <Anchor component={Link} to={`/messages/${id}` as never} size="sm">
        {t("testMessage")}
      </Anchor>
      <Status value={message?.status ?? status} />
      {message?.failure && <Text size="sm">{message.failure}</Text>}
    </Group>
  );
}
