/** The page /webhooks/$id/edit. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate, useParams } from "@tanstack/react-router";
import { changeWebhook, type Webhook, webhookQuery } from "@/api/webhooks";
import { Edited, useEdit } from "@/parts/Edited";
import { Page } from "@/parts/Page";
import { States } from "@/parts/States";
import { toast } from "@/parts/toasts";
import { t } from "./texts";
import { WebhookForm } from "./WebhookForm";

export function EditWebhookPage() {
  const { id } = useParams({ from: "/app/webhooks/$id/edit" });
  const query = useQuery(webhookQuery(id));
  return (
    <Page title={t("editTitle")} area={t("title")} lead={query.data?.url}>
      <States query={query}>
        {(found) => <Edited data={found}>{(webhook) => <Form webhook={webhook} />}</Edited>}
      </States>
    </Page>
  );
}

function Form({ webhook }: { webhook: Webhook }) {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const { version } = useEdit();
  return (
    <WebhookForm
      webhook={webhook}
      send={(body) => changeWebhook(webhook.id, body, version)}
      done={() => {
        toast(t("saved"));
        void queries.invalidateQueries({ queryKey: ["webhooks"] });
        void navigate({ to: "/webhooks/$id", params: { id: webhook.id }, ignoreBlocker: true });
      }}
    />
  );
}
