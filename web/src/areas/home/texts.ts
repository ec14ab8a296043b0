/** The texts of this area. */
import { catalogue } from "@/locales/catalogue";
import home from "@/locales/en/home";

export const { t, rich } = catalogue("home", home);
