/** Who the emails of the workspace are from. */
import { Badge, Button, Group, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useMay } from "@/api/me";
import { deleteSender, type Sender, sendersQuery } from "@/api/senders";
import { CopyAsCurl, curl } from "@/parts/CopyAsCurl";
import { Section } from "@/parts/Details";
import { confirm } from "@/parts/dialogs";
import { Edited } from "@/parts/Edited";
import { type Column, Listing } from "@/parts/Listing";
import { toast, toastError } from "@/parts/toasts";
import { useFilters } from "@/parts/useFilters";
import { fieldsOf, SenderForm } from "./SenderForm";
import { SettingsFrame } from "./SettingsFrame";
import { t } from "./sendingTexts";

export function SendersPage() {
  const { after } = useFilters();
  const query = useQuery(sendersQuery(after));
  const may = useMay()("settings.write");
  /** The sender that is changed, or "new". */
  const [open, setOpen] = useState<Sender | "new">();
  const close = () => setOpen(undefined);
  const make = may && open === undefined && <Button onClick={() => setOpen("new")}>{t("newSender")}</Button>;
  const columns: Column<Sender>[] = [
    {
      id: "sender",
      title: t("sender"),
      cell: ({ name, address, default: chosen }) => (
        <Group gap="xs">
          <div>
            <Text size="sm" fw={500}>
              {name || address}
            </Text>
            {name && (
              <Text size="xs" c="dimmed" style={{ overflowWrap: "anywhere" }}>
                {address}
              </Text>
            )}
          </div>
          {chosen && <Badge variant="light">{t("defaultSender")}</Badge>}
        </Group>
      ),
    },
    { id: "reply", title: t("replyTo"), cell: ({ reply_to }) => reply_to, wide: true },
    ...(may
      ? [
          {
            id: "actions",
            title: "",
            cell: (one: Sender) => <Actions one={one} change={() => setOpen(one)} deleted={close} />,
          },
        ]
      : []),
  ];
  return (
    <SettingsFrame>
      <Section
        title={t("senders")}
        lead={t("sendersLead")}
        actions={
          <>
            <CopyAsCurl path="/v1/senders" query={{ after }} />
            {make}
          </>
        }
      >
        {open === "new" ? (
          <SenderForm close={close} />
        ) : (
          open && (
            // As it is now, if it is on the page that is shown.
            <Edited key={open.id} data={query.data?.data.find(({ id }) => id === open.id) ?? open} theirs={fieldsOf}>
              {(sender) => <SenderForm sender={sender} close={close} />}
            </Edited>
          )
        )}
        <Listing
          label={t("senders")}
          query={query}
          columns={columns}
          rowKey={({ id }) => id}
          empty={{
            title: t("noSenders"),
            hint: t("noSendersHint"),
            children: make || undefined,
            example: curl({
              method: "POST",
              path: "/v1/senders",
              body: { address: "shop@example.com", name: "Shop", default: true },
            }),
          }}
        />
      </Section>
    </SettingsFrame>
  );
}

function Actions({ one, change, deleted }: { one: Sender; change: () => void; deleted: () => void }) {
  const queries = useQueryClient();
  const sender = one.mailbox;
  const remove = useMutation({
    mutationFn: () => deleteSender(one.id),
    onSuccess: () => {
      deleted();
      toast(t("senderDeleted", { sender }));
      void queries.invalidateQueries({ queryKey: ["senders"] });
    },
    onError: toastError,
  });

  async function ask() {
    const question = { title: t("deleteSenderQuestion", { sender }), body: t("deleteSenderBody"), action: t("delete") };
    if (await confirm({ ...question, danger: true })) remove.mutate();
  }

  return (
    <Group gap="xs" justify="flex-end">
      <Button size="xs" variant="default" aria-label={t("changeSenderOf", { sender })} onClick={change}>
        {t("changeSender")}
      </Button>
      <Button
        size="xs"
        variant="default"
        aria-label={t("deleteSenderOf", { sender })}
        onClick={() => void ask()}
        loading={remove.isPending}
      >
        {t("delete")}
      </Button>
    </Group>
  );
}
