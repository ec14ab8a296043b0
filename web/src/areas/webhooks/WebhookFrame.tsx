/** What all pages of one endpoint have: its URL as the title, what can be done with it, the banner, and the tabs. */
import { Button } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { useMay } from "@/api/me";
import { deleteWebhook, disableWebhook, enableWebhook, type Webhook, webhookQuery } from "@/api/webhooks";
import { DeleteButton } from "@/parts/DeleteButton";
import { confirm } from "@/parts/dialogs";
import { LinkTabs } from "@/parts/LinkTabs";
import { Page } from "@/parts/Page";
import { States } from "@/parts/States";
import { toast, toastError } from "@/parts/toasts";
import { useLive } from "@/parts/useLive";
import { DisabledBanner } from "./DisabledBanner";
import { t } from "./texts";

interface Props {
  id: string;
  children: (webhook: Webhook) => ReactNode;
}

export function WebhookFrame({ id, children }: Props) {
  const query = useQuery(webhookQuery(id));
  const may = useMay()("webhooks.write");
  useLive(["webhooks"]);
  const webhook = query.data;
  const params = { id };
  return (
    <Page
      title={webhook?.url ?? t("title")}
      area={t("title")}
      lead={webhook?.description}
      actions={webhook && may && !webhook.text_client_id && <Actions webhook={webhook} />}
    >
      <LinkTabs
        label={t("tabs")}
        tabs={[
          { label: t("overview"), to: "/webhooks/$id", params, exact: true },
          { label: t("deliveries"), to: "/webhooks/$id/deliveries", params },
          { label: t("replays"), to: "/webhooks/$id/replays", params },
        ]}
      />
      <States query={query}>
        {(found) => (
          <>
            {found.status === "disabled" && <DisabledBanner webhook={found} />}
            {children(found)}
          </>
        )}
      </States>
    </Page>
  );
}

function Actions({ webhook: { id, url, status, counts } }: { webhook: Webhook }) {
  const queries = useQueryClient();
  const refresh = () => void queries.invalidateQueries({ queryKey: ["webhooks"] });
  const enable = useMutation({
    mutationFn: () => enableWebhook(id, false),
    onSuccess: () => {
      toast(t("enabled"));
      refresh();
    },
    onError: toastError,
  });
  const disable = useMutation({
    mutationFn: () => disableWebhook(id),
    onSuccess: () => {
      toast(t("disabled"));
      refresh();
    },
    onError: toastError,
  });
  async function askToDisable() {
    const question = { title: t("disableQuestion", { url }), body: t("disableBody"), action: t("disable") };
    if (await confirm(question)) disable.mutate();
  }

  return (
    <>
      <Button component={Link} to="/webhooks/$id/edit" params={{ id } as never} variant="default">
        {t("edit")}
      </Button>
      {status === "enabled" ? (
        <Button variant="default" onClick={() => void askToDisable()} loading={disable.isPending}>
          {t("disable")}
        </Button>
      ) : (
        <Button variant="default" onClick={() => enable.mutate()} loading={enable.isPending}>
          {t("enable")}
        </Button>
      )}
      <DeleteButton
        question={{
          title: t("deleteQuestion", { url }),
          body: t("deleteBody", { n: counts.pending }),
          action: t("delete"),
        }}
        remove={() => deleteWebhook(id)}
        done={t("deleted")}
        to="/webhooks"
        queryKey={["webhooks", id]}
      />
    </>
  );
}
