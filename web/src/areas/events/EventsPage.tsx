/** The page /events. */
import { Page } from "@/parts/Page";
import { t } from "./texts";

export function EventsPage() {
  return (
    <Page title={t("title")} lead={t("lead")}>
      {null}
    </Page>
  );
}
