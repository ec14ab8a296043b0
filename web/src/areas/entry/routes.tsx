/** The routes without a session. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { rootRoute } from "@/shell/rootRoute";

export const entryRoutes = [
  createRoute({
    getParentRoute: () => rootRoute,
    path: "/sign-in",
    validateSearch: (search): { to?: string; problem?: string } => ({
      ...(typeof search.to === "string" && { to: search.to }),
      ...(typeof search.problem === "string" && { problem: search.problem }),
    }),
    component: lazyRouteComponent(() => import("./SignInPage"), "SignInPage"),
  }),
  createRoute({
    getParentRoute: () => rootRoute,
    path: "/setup",
    component: lazyRouteComponent(() => import("./OwnerPage"), "OwnerPage"),
  }),
  createRoute({
    getParentRoute: () => rootRoute,
    path: "/invitation",
    component: lazyRouteComponent(() => import("./InvitationPage"), "InvitationPage"),
  }),
  createRoute({
    getParentRoute: () => rootRoute,
    path: "/reset",
    component: lazyRouteComponent(() => import("./ResetPage"), "ResetPage"),
  }),
] as const;
