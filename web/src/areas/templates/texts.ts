/** The texts of this area. */
import { catalogue } from "@/locales/catalogue";
import templates from "@/locales/en/templates";

export const { t, rich, has } = catalogue("templates", templates);
