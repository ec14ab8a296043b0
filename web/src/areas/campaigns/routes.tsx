/** The routes of /campaigns. */
import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { searchTexts } from "@/parts/useFilters";
import { appRoute } from "@/shell/appRoute";

export const campaignRoutes = [
  createRoute({
    getParentRoute: () => appRoute,
    path: "/campaigns",
    validateSearch: searchTexts("state"),
    component: lazyRouteComponent(() => import("./CampaignsPage"), "CampaignsPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/campaigns/new",
    staticData: { permission: "campaigns.write" },
    component: lazyRouteComponent(() => import("./NewCampaignPage"), "NewCampaignPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/campaigns/$id/edit",
    validateSearch: searchTexts("step"),
    component: lazyRouteComponent(() => import("./WizardPage"), "WizardPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/campaigns/$id",
    validateSearch: searchTexts("occurrence"),
    component: lazyRouteComponent(() => import("./CampaignPage"), "CampaignPage"),
  }),
  createRoute({
    getParentRoute: () => appRoute,
    path: "/campaigns/$id/recipients",
    validateSearch: searchTexts("occurrence", "status", "reason", "code"),
    component: lazyRouteComponent(() => import("./RecipientsPage"), "RecipientsPage"),
  }),
] as const;
