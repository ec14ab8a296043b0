/** The texts of this area. */
import { catalogue } from "@/locales/catalogue";
import connections from "@/locales/en/connections";

export const { t, rich, has } = catalogue("connections", connections);
