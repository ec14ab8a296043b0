/** The routes of /webhooks. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { searchTexts } from "@/parts/useFilters";
import { appRoute } from "@/shell/appRoute";

export const webhookRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/webhooks",
    validateSearch: searchTexts(),
    component: lazyRouteComponent(() => import("./WebhooksPage"), "WebhooksPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/webhooks/new",
    staticData: { permission: "webhooks.write" },
    validateSearch: searchTexts("format", "types"),
    component: lazyRouteComponent(() => import("./NewWebhookPage"), "NewWebhookPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/webhooks/$id",
    component: lazyRouteComponent(() => import("./WebhookPage"), "WebhookPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/webhooks/$id/edit",
    staticData: { permission: "webhooks.write" },
    component: lazyRouteComponent(() => import("./EditWebhookPage"), "EditWebhookPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/webhooks/$id/deliveries",
    validateSearch: searchTexts("state"),
    component: lazyRouteComponent(() => import("./DeliveriesPage"), "DeliveriesPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/webhooks/$id/deliveries/$delivery",
    component: lazyRouteComponent(() => import("./DeliveryPage"), "DeliveryPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/webhooks/$id/replays",
    validateSearch: searchTexts(),
    component: lazyRouteComponent(() => import("./ReplaysPage"), "ReplaysPage"),
  }),
] as const;
