/** The page /. */
import { Page } from "@/parts/Page";
import { t } from "./texts";

export function HomePage() {
  return (
    <Page title={t("title")} lead={t("lead")}>
      {null}
    </Page>
  );
}
