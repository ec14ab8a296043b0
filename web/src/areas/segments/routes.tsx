/** The routes of /segments. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { searchTexts } from "@/parts/useFilters";
import { appRoute } from "@/shell/appRoute";

export const segmentRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/segments",
    validateSearch: searchTexts(),
    component: lazyRouteComponent(() => import("./SegmentsPage"), "SegmentsPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/segments/new",
    staticData: { permission: "people.write" },
    component: lazyRouteComponent(() => import("./NewSegmentPage"), "NewSegmentPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/segments/$id",
    component: lazyRouteComponent(() => import("./SegmentPage"), "SegmentPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/segments/$id/members",
    validateSearch: searchTexts(),
    component: lazyRouteComponent(() => import("./SegmentMembersPage"), "SegmentMembersPage"),
  }),
] as const;
