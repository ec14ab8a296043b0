/** The routes of /settings. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { searchTexts } from "@/parts/useFilters";
import { appRoute } from "@/shell/appRoute";

export const settingsRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/settings",
    component: lazyRouteComponent(() => import("./AccountPage"), "AccountPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/settings/workspace",
    component: lazyRouteComponent(() => import("./WorkspacePage"), "WorkspacePage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/settings/people",
    validateSearch: searchTexts(),
    component: lazyRouteComponent(() => import("./UsersPage"), "UsersPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/settings/single-sign-on",
    component: lazyRouteComponent(() => import("./SingleSignOnPage"), "SingleSignOnPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/settings/keys",
    validateSearch: searchTexts(),
    component: lazyRouteComponent(() => import("./KeysPage"), "KeysPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/settings/api",
    component: lazyRouteComponent(() => import("./ApiPage"), "ApiPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/settings/sending-rules",
    component: lazyRouteComponent(() => import("./SendingRulesPage"), "SendingRulesPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/settings/senders",
    validateSearch: searchTexts(),
    component: lazyRouteComponent(() => import("./SendersPage"), "SendersPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/settings/tracking",
    component: lazyRouteComponent(() => import("./TrackingPage"), "TrackingPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/settings/texts",
    validateSearch: searchTexts(),
    component: lazyRouteComponent(() => import("./TextClientsPage"), "TextClientsPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/settings/texts/$id",
    component: lazyRouteComponent(() => import("./TextClientPage"), "TextClientPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/settings/audit",
    validateSearch: searchTexts("actor", "action", "q", "since", "until"),
    component: lazyRouteComponent(() => import("./AuditPage"), "AuditPage"),
  }),
] as const;
