/** The routes of /webhooks. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { appRoute } from "@/shell/appRoute";

export const webhookRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/webhooks",
    component: lazyRouteComponent(() => import("./WebhooksPage"), "WebhooksPage"),
  }),
] as const;
