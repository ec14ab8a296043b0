/** The routes of /connections. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { searchTexts } from "@/parts/useFilters";
import { appRoute } from "@/shell/appRoute";

export const connectionRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/connections",
    component: lazyRouteComponent(() => import("./ConnectionsPage"), "ConnectionsPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/connections/new",
    staticData: { permission: "connections.write" },
    validateSearch: searchTexts("connector"),
    component: lazyRouteComponent(() => import("./NewConnectionPage"), "NewConnectionPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/connections/$id",
    component: lazyRouteComponent(() => import("./ConnectionPage"), "ConnectionPage"),
  }),
] as const;
