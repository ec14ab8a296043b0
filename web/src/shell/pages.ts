/** The pages of the navigation, in order, with the permission that each needs and its key in `g` shortcuts. */
import {
  IconAddressBook,
  IconBolt,
  IconChartPie,
  IconHome,
  IconMessages,
  IconPlugConnected,
  IconSettings,
  IconSpeakerphone,
  IconTemplate,
  IconWebhook,
  type TablerIcon,
} from "@tabler/icons-react";

declare module "@tanstack/react-router" {
  interface StaticDataRouteOption {
    /** What a page needs beside seeing its area. Without it, the frame says which roles have it. */
    permission?: string;
  }
}

export interface NavigationPage {
  to: string;
  name:
    | "home"
    | "people"
    | "segments"
    | "templates"
    | "campaigns"
    | "messages"
    | "connections"
    | "webhooks"
    | "events"
    | "settings";
  icon: TablerIcon;
  /** Pages without one are for everybody who is signed in. */
  permission?: string;
  key: string;
}

export const PAGES: readonly NavigationPage[] = [
  { to: "/", name: "home", icon: IconHome, key: "h" },
  { to: "/people", name: "people", icon: IconAddressBook, permission: "people.read", key: "p" },
  { to: "/segments", name: "segments", icon: IconChartPie, permission: "people.read", key: "a" },
  { to: "/templates", name: "templates", icon: IconTemplate, permission: "templates.read", key: "t" },
  { to: "/campaigns", name: "campaigns", icon: IconSpeakerphone, permission: "campaigns.read", key: "c" },
  { to: "/messages", name: "messages", icon: IconMessages, permission: "messages.read", key: "m" },
  { to: "/connections", name: "connections", icon: IconPlugConnected, permission: "connections.read", key: "n" },
  { to: "/webhooks", name: "webhooks", icon: IconWebhook, permission: "webhooks.read", key: "w" },
  { to: "/events", name: "events", icon: IconBolt, permission: "events.read", key: "e" },
  { to: "/settings", name: "settings", icon: IconSettings, key: "s" },
];

/** Pages within the area of people, which the palette finds as well. */
export const WITHIN = [
  { to: "/people/lists", name: "people_lists", permission: "people.read" },
  { to: "/people/imports", name: "people_imports", permission: "people.read" },
  { to: "/people/suppressions", name: "people_suppressions", permission: "people.read" },
] as const;

/** The pages of settings, which the palette finds as well. */
export const SETTINGS = [
  { to: "/settings/workspace", name: "settings_workspace", permission: "settings.read" },
  { to: "/settings/people", name: "settings_people", permission: "users.read" },
  { to: "/settings/single-sign-on", name: "settings_sign_on", permission: "users.read" },
  { to: "/settings/keys", name: "settings_keys", permission: "keys.read" },
  { to: "/settings/api", name: "settings_api", permission: "webhooks.read" },
  { to: "/settings/sending-rules", name: "settings_rules", permission: "settings.read" },
  { to: "/settings/senders", name: "settings_senders", permission: "settings.read" },
  { to: "/settings/tracking", name: "settings_tracking", permission: "settings.read" },
  { to: "/settings/texts", name: "settings_texts", permission: "settings.read" },
  { to: "/settings/audit", name: "settings_audit", permission: "audit.read" },
] as const;
