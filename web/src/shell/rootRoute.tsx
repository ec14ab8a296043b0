/** The route around all others: what every page has, signed in or not. */
import type { QueryClient } from "@tanstack/react-query";
import { createRootRouteWithContext, Outlet } from "@tanstack/react-router";
import { ErrorPage, NotFoundPage } from "./ErrorPage";
import { LiveRegion } from "./LiveRegion";

export const rootRoute = createRootRouteWithContext<{ queries: QueryClient }>()({
  component: () => (
    <>
      <Outlet />
      <LiveRegion />
    </>
  ),
  errorComponent: ErrorPage,
  notFoundComponent: NotFoundPage,
});
