/** The routes of /connections. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { appRoute } from "@/shell/appRoute";

export const connectionRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/connections",
    component: lazyRouteComponent(() => import("./ConnectionsPage"), "ConnectionsPage"),
  }),
] as const;
