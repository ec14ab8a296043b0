/** The page /messages. */
import { Page } from "@/parts/Page";
import { t } from "./texts";

export function MessagesPage() {
  return (
    <Page title={t("title")} lead={t("lead")}>
      {null}
    </Page>
  );
}
