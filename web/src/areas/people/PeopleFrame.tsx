/** What the pages of people, lists, imports and suppressions have in common: the title and the tabs. */
import type { ReactNode } from "react";
import { LinkTabs } from "@/parts/LinkTabs";
import { Page } from "@/parts/Page";
import { t } from "./texts";

interface Props {
  title: string;
  actions?: ReactNode;
  children: ReactNode;
}

export function PeopleFrame({ title, actions, children }: Props) {
  return (
    <Page title={title} area={title === t("title") ? undefined : t("title")} actions={actions}>
      <LinkTabs
        label={t("tabs")}
        tabs={[
          { to: "/people", label: t("title"), exact: true },
          { to: "/people/lists", label: t("lists") },
          { to: "/people/imports", label: t("imports") },
          { to: "/people/suppressions", label: t("suppressions") },
        ]}
      />
      {children}
    </Page>
  );
}
