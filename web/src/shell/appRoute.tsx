/** The route around all pages for people who are signed in; without a session it leads to the sign-in page. */
import { createRoute, redirect } from "@tanstack/react-router";
import { meQuery, setupQuery } from "@/api/me";
import { Problem } from "@/api/problem";
import { ErrorPage, NotFoundPage } from "./ErrorPage";
import { Frame } from "./Frame";
import { rootRoute } from "./rootRoute";

export const appRoute = createRoute({
  getParentRoute: () => rootRoute,
  id: "app",
  beforeLoad: async ({ context: { queries }, location }) => {
    try {
      await queries.ensureQueryData(meQuery);
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 401) throw error;
      const setup = await queries.ensureQueryData(setupQuery).catch(() => null);
      if (setup?.needs_owner) throw redirect({ to: "/setup" });
      throw redirect({ to: "/sign-in", search: location.href === "/" ? {} : { to: location.href } });
    }
  },
  component: Frame,
  errorComponent: ErrorPage,
  notFoundComponent: NotFoundPage,
});
