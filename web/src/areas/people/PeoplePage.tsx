/** The page /people. */
import { Page } from "@/parts/Page";
import { t } from "./texts";

export function PeoplePage() {
  return (
    <Page title={t("title")} lead={t("lead")}>
      {null}
    </Page>
  );
}
