/** The routes of /templates. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { appRoute } from "@/shell/appRoute";

export const templateRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/templates",
    component: lazyRouteComponent(() => import("./TemplatesPage"), "TemplatesPage"),
  }),
] as const;
