/** The page /templates. */
import { Page } from "@/parts/Page";
import { t } from "./texts";

export function TemplatesPage() {
  return (
    <Page title={t("title")} lead={t("lead")}>
      {null}
    </Page>
  );
}
