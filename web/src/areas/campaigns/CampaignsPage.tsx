/** The page /campaigns. */
import { Page } from "@/parts/Page";
import { t } from "./texts";

export function CampaignsPage() {
  return (
    <Page title={t("title")} lead={t("lead")}>
      {null}
    </Page>
  );
}
