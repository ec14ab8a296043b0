/** Makes a sender, or changes one. */
import { Button, Checkbox, Group, Stack, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { changeSender, createSender, type Sender } from "@/api/senders";
import { useEdit } from "@/parts/Edited";
import { FormProblem } from "@/parts/FormProblem";
import { toast } from "@/parts/toasts";
import { useForm } from "@/parts/useForm";
import { useGuard } from "@/parts/useGuard";
import { t } from "./sendingTexts";

export const fieldsOf = ({ address, name, reply_to, default: chosen }: Sender) => ({
  address,
  name,
  reply_to,
  default: chosen,
});

export function SenderForm({ sender, close }: { sender?: Sender; close: () => void }) {
  const queries = useQueryClient();
  const { version } = useEdit();
  const form = useForm({
    initial: sender ? fieldsOf(sender) : { address: "", name: "", reply_to: "", default: false },
    checks: { address: (address: string) => (address.includes("@") ? undefined : t("addressNeeded")) },
    send: (values) => (sender ? changeSender(sender.id, values, version) : createSender(values)),
    done: () => {
      void queries.invalidateQueries({ queryKey: ["senders"] });
      toast(t("saved"));
      close();
    },
  });
  useGuard(form.changed && !form.pending && form.result === undefined);
  return (
    <form {...form.form} aria-label={sender ? t("changeSenderOf", { sender: sender.mailbox }) : t("newSender")}>
      <Stack maw={520}>
        <TextInput
          {...form.field("address")}
          label={t("senderAddress")}
          description={t("senderAddressHint")}
          type="email"
        />
        <TextInput {...form.field("name")} label={t("senderName")} description={t("senderNameHint")} />
        <TextInput {...form.field("reply_to")} label={t("replyTo")} description={t("replyToHint")} />
        <Checkbox
          label={t("isDefault")}
          description={t("isDefaultHint")}
          checked={form.values.default}
          onChange={form.field("default").onChange}
          error={form.errors.default}
        />
        <FormProblem problem={form.problem} />
        <Group>
          <Button type="submit" loading={form.pending}>
            {t("saveSender")}
          </Button>
          <Button variant="default" onClick={close}>
            {t("cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
