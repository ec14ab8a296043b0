/** The routes of /templates. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { searchTexts } from "@/parts/useFilters";
import { appRoute } from "@/shell/appRoute";

export const templateRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/templates",
    validateSearch: searchTexts(),
    component: lazyRouteComponent(() => import("./TemplatesPage"), "TemplatesPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/templates/new",
    staticData: { permission: "templates.write" },
    validateSearch: searchTexts("channel"),
    component: lazyRouteComponent(() => import("./NewTemplatePage"), "NewTemplatePage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/templates/$id",
    validateSearch: searchTexts("version"),
    component: lazyRouteComponent(() => import("./TemplatePage"), "TemplatePage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/templates/$id/versions",
    validateSearch: searchTexts("from", "to"),
    component: lazyRouteComponent(() => import("./VersionsPage"), "VersionsPage"),
  }),
] as const;
