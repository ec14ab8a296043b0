/** The routes of /events. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { searchTexts } from "@/parts/useFilters";
import { appRoute } from "@/shell/appRoute";

export const eventRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/events",
    validateSearch: searchTexts("type", "since"),
    component: lazyRouteComponent(() => import("./EventsPage"), "EventsPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/events/metrics",
    validateSearch: searchTexts("days"),
    component: lazyRouteComponent(() => import("./MetricsPage"), "MetricsPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/events/metrics/$id",
    validateSearch: searchTexts("days", "status"),
    component: lazyRouteComponent(() => import("./MetricPage"), "MetricPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/events/$id",
    component: lazyRouteComponent(() => import("./EventPage"), "EventPage"),
  }),
] as const;
