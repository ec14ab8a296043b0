/** The page /settings. */
import { Page } from "@/parts/Page";
import { t } from "./texts";

export function SettingsPage() {
  return (
    <Page title={t("title")} lead={t("lead")}>
      {null}
    </Page>
  );
}
