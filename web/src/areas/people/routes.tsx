/** The routes of /people. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { searchTexts } from "@/parts/useFilters";
import { appRoute } from "@/shell/appRoute";

export const peopleRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/people",
    validateSearch: searchTexts("query", "trait", "value"),
    component: lazyRouteComponent(() => import("./PeoplePage"), "PeoplePage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/people/lists",
    validateSearch: searchTexts(),
    component: lazyRouteComponent(() => import("./ListsPage"), "ListsPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/people/lists/$id",
    validateSearch: searchTexts("state"),
    component: lazyRouteComponent(() => import("./ListPage"), "ListPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/people/imports",
    validateSearch: searchTexts(),
    component: lazyRouteComponent(() => import("./ImportsPage"), "ImportsPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/people/imports/$id",
    component: lazyRouteComponent(() => import("./ImportPage"), "ImportPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/people/suppressions",
    validateSearch: searchTexts("address", "channel"),
    component: lazyRouteComponent(() => import("./SuppressionsPage"), "SuppressionsPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/people/$id",
    validateSearch: searchTexts(),
    component: lazyRouteComponent(() => import("./PersonPage"), "PersonPage"),
  }),
] as const;
