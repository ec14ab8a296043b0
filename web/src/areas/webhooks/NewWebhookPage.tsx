/** The page /webhooks/new; it ends with the secret of what was made. */
import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import type { Schemas } from "@/api/client";
import { createWebhook } from "@/api/webhooks";
import { Page } from "@/parts/Page";
import { SecretOnce } from "@/parts/SecretOnce";
import { toast } from "@/parts/toasts";
import { useFilters } from "@/parts/useFilters";
import { t } from "./texts";
import { WebhookForm } from "./WebhookForm";

export function NewWebhookPage() {
  const queries = useQueryClient();
  const [made, setMade] = useState<Schemas["WebhookCreated"]>();
  const { format, types } = useFilters("format", "types").query;
  const go = made && (
    <Button component={Link} to="/webhooks/$id" params={{ id: made.id } as never}>
      {t("toWebhook")}
    </Button>
  );
  return (
    <Page title={t("newEndpoint")} area={t("title")}>
      {!made ? (
        <WebhookForm
          chosen={{ ...(format && { format }), ...(types && { event_types: types.split(",") }) }}
          send={createWebhook}
          done={(result) => {
            setMade(result);
            toast(t("created"));
            void queries.invalidateQueries({ queryKey: ["webhooks"] });
          }}
        />
      ) : made.secret ? (
        <SecretOnce label={t("secretIs")} text={made.secret}>
          <div>{go}</div>
        </SecretOnce>
      ) : (
        <div>{go}</div>
      )}
    </Page>
  );
}
