/** All routes: those of each area, under the frame or outside of it. */
import { campaignRoutes } from "./areas/campaigns/routes";
import { connectionRoutes } from "./areas/connections/routes";
import { entryRoutes } from "./areas/entry/routes";
import { eventRoutes } from "./areas/events/routes";
import { homeRoutes } from "./areas/home/routes";
import { messageRoutes } from "./areas/messages/routes";
import { peopleRoutes } from "./areas/people/routes";
import { segmentRoutes } from "./areas/segments/routes";
import { settingsRoutes } from "./areas/settings/routes";
import { templateRoutes } from "./areas/templates/routes";
import { webhookRoutes } from "./areas/webhooks/routes";
import { appRoute } from "./shell/appRoute";
import { rootRoute } from "./shell/rootRoute";

export const routeTree = rootRoute.addChildren([
  ...entryRoutes,
  appRoute.addChildren([
    ...homeRoutes,
    ...peopleRoutes,
    ...segmentRoutes,
    ...templateRoutes,
    ...campaignRoutes,
    ...messageRoutes,
    ...connectionRoutes,
    ...webhookRoutes,
    ...eventRoutes,
    ...settingsRoutes,
  ]),
]);
