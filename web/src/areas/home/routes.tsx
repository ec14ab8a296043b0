/** The routes of /. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { appRoute } from "@/shell/appRoute";

export const homeRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/",
    component: lazyRouteComponent(() => import("./HomePage"), "HomePage"),
  }),
] as const;
