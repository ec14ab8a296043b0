/** What the pages of one segment have in common: the title and the tabs. */
import type { ReactNode } from "react";
import { LinkTabs } from "@/parts/LinkTabs";
import { Page } from "@/parts/Page";
import { t } from "./texts";

interface Props {
  id: string;
  title: string;
  actions?: ReactNode;
  children: ReactNode;
}

export function SegmentFrame({ id, title, actions, children }: Props) {
  return (
    <Page title={title} area={t("title")} actions={actions}>
      <LinkTabs
        label={t("tabs")}
        tabs={[
          { to: "/segments/$id", params: { id }, label: t("condition"), exact: true },
          { to: "/segments/$id/members", params: { id }, label: t("members") },
        ]}
      />
      {children}
    </Page>
  );
}
