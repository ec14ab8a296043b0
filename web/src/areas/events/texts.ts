/** The texts of this area. */
import { catalogue } from "@/locales/catalogue";
import events from "@/locales/en/events";

export const { t, rich, has } = catalogue("events", events);
