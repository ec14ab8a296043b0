/** What all pages of settings have: the title and the tabs that the person may open. */
import { useMatches } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { useMay, useMe } from "@/api/me";
import { LinkTabs } from "@/parts/LinkTabs";
import { Page } from "@/parts/Page";
import { t } from "./texts";

const TABS = [
  { to: "/settings", name: "account", permission: undefined, user: true },
  { to: "/settings/workspace", name: "workspace", permission: "settings.read", user: false },
  { to: "/settings/people", name: "people", permission: "users.read", user: false },
  { to: "/settings/single-sign-on", name: "singleSignOn", permission: "users.read", user: false },
  { to: "/settings/keys", name: "keys", permission: "keys.read", user: false },
  { to: "/settings/api", name: "api", permission: "webhooks.read", user: false },
  { to: "/settings/sending-rules", name: "sendingRules", permission: "settings.read", user: false },
  { to: "/settings/senders", name: "senders", permission: "settings.read", user: false },
  { to: "/settings/tracking", name: "tracking", permission: "settings.read", user: false },
  { to: "/settings/texts", name: "texts", permission: "settings.read", user: false },
  { to: "/settings/audit", name: "audit", permission: "audit.read", user: false },
] as const;

interface Props {
  /** Of a page below a tab. */
  title?: string;
  children: ReactNode;
}

export function SettingsFrame({ title, children }: Props) {
  const may = useMay();
  const me = useMe();
  const path = useMatches({ select: (matches) => matches.at(-1)?.pathname.replace(/\/$/, "") });
  const tabs = TABS.filter(({ permission, user }) => (permission ? may(permission) : !user || me?.user));
  const shown = TABS.find(({ to }) => to === path) ?? TABS[0];
  return (
    <Page title={title ?? t(shown.name)} area={t("title")}>
      <LinkTabs
        label={t("tabs")}
        tabs={tabs.map(({ to, name }) => ({ to, label: t(name), exact: to === "/settings" }))}
      />
      {children}
    </Page>
  );
}
