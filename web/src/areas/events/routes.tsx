/** The routes of /events. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { appRoute } from "@/shell/appRoute";

export const eventRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/events",
    component: lazyRouteComponent(() => import("./EventsPage"), "EventsPage"),
  }),
] as const;
