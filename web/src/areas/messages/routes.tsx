/** The routes of /messages. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { searchTexts } from "@/parts/useFilters";
import { appRoute } from "@/shell/appRoute";

export const messageRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/messages",
    validateSearch: searchTexts(
      ...["to", "status", "channel", "connection_id", "profile_id"],
      ...["campaign", "code", "provider_message_id", "since", "until"],
    ),
    component: lazyRouteComponent(() => import("./MessagesPage"), "MessagesPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/messages/$id",
    component: lazyRouteComponent(() => import("./MessagePage"), "MessagePage"),
  }),
] as const;
