/** The routes of /segments. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { appRoute } from "@/shell/appRoute";

export const segmentRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/segments",
    component: lazyRouteComponent(() => import("./SegmentsPage"), "SegmentsPage"),
  }),
] as const;
