/** The routes of /people. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { appRoute } from "@/shell/appRoute";

export const peopleRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/people",
    component: lazyRouteComponent(() => import("./PeoplePage"), "PeoplePage"),
  }),
] as const;
