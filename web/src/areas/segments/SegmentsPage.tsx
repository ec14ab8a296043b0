/** The page /segments. */
import { Page } from "@/parts/Page";
import { t } from "./texts";

export function SegmentsPage() {
  return (
    <Page title={t("title")} lead={t("lead")}>
      {null}
    </Page>
  );
}
