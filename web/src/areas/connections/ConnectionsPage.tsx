/** The page /connections. */
import { Page } from "@/parts/Page";
import { t } from "./texts";

export function ConnectionsPage() {
  return (
    <Page title={t("title")} lead={t("lead")}>
      {null}
    </Page>
  );
}
