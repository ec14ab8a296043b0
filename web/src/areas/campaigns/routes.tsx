/** The routes of /campaigns. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { appRoute } from "@/shell/appRoute";

export const campaignRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/campaigns",
    component: lazyRouteComponent(() => import("./CampaignsPage"), "CampaignsPage"),
  }),
] as const;
