/** The texts of this area. */
import { catalogue } from "@/locales/catalogue";
import settings from "@/locales/en/settings";

export const { t, rich } = catalogue("settings", settings);
