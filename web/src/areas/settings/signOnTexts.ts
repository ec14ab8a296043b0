/** The texts of the page of single sign-on. */
import { catalogue } from "@/locales/catalogue";
import signOn from "@/locales/en/signOn";

export const { t } = catalogue("signOn", signOn);
