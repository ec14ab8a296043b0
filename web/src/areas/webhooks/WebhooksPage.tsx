/** The page /webhooks. */
import { Page } from "@/parts/Page";
import { t } from "./texts";

export function WebhooksPage() {
  return (
    <Page title={t("title")} lead={t("lead")}>
      {null}
    </Page>
  );
}
