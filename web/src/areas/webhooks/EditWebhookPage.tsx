/** The page /webhooks/$id/edit. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate, useParams } from "@tanstack/react-router";
import { changeWebhook, webhookQuery } from "@/api/webhooks";
import { Page } from "@/parts/Page";
import { States } from "@/parts/States";
import { toast } from "@/parts/toasts";
import { t } from "./texts";
import { WebhookForm } from "./WebhookForm";

export function EditWebhookPage() {
  const { id } = useParams({ from: "/app/webhooks/$id/edit" });
  const query = useQuery(webhookQuery(id));
  const queries = useQueryClient();
  const navigate = useNavigate();
  return (
    <Page title={t("editTitle")} area={t("title")} lead={query.data?.url}>
      <States query={query}>
        {(webhook) => (
          <WebhookForm
            webhook={webhook}
            send={(body) => changeWebhook(id, body)}
            done={() => {
              toast(t("saved"));
              void queries.invalidateQueries({ queryKey: ["webhooks"] });
              void navigate({ to: "/webhooks/$id", params: { id }, ignoreBlocker: true });
            }}
          />
        )}
      </States>
    </Page>
  );
}
