/** Who a mail is from: free text, which offers the senders of the settings. */
import { TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useId } from "react";
import { useMay } from "@/api/me";
import { allSendersQuery } from "@/api/senders";
import type { Fields } from "./content";
import { t } from "./texts";

interface Props {
  fields: Fields;
  change: (next: Fields) => void;
  readOnly: boolean;
}

export function SenderField({ fields, change, readOnly }: Props) {
  const id = useId();
  const senders = useQuery({ ...allSendersQuery, enabled: useMay()("settings.read") }).data?.data ?? [];

  /** A sender that is chosen brings its address for answers. */
  function set(sender: string) {
    const chosen = senders.find(({ mailbox }) => mailbox === sender);
    change({ ...fields, sender, reply_to: fields.reply_to || (chosen?.reply_to ?? "") });
  }

  return (
    <>
      <TextInput
        value={fields.sender}
        onChange={(event) => set(event.currentTarget.value)}
        label={t("sender")}
        description={t("senderHint")}
        list={id}
        readOnly={readOnly}
      />
      <datalist id={id}>
        {senders.map(({ id: key, mailbox }) => (
          <option key={key} value={mailbox} />
        ))}
      </datalist>
    </>
  );
}
