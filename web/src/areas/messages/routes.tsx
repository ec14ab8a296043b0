/** The routes of /messages. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { appRoute } from "@/shell/appRoute";

export const messageRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/messages",
    component: lazyRouteComponent(() => import("./MessagesPage"), "MessagesPage"),
  }),
] as const;
