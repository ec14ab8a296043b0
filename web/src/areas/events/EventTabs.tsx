/** The tabs of the pages under /events. */
import { LinkTabs } from "@/parts/LinkTabs";
import { t } from "./texts";

export const EventTabs = () => (
  <LinkTabs
    label={t("tabs")}
    tabs={[
      { label: t("feed"), to: "/events", exact: true },
      { label: t("metrics"), to: "/events/metrics" },
    ]}
  />
);
