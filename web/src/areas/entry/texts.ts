/** The texts of this area. */
import { catalogue } from "@/locales/catalogue";
import entry from "@/locales/en/entry";

export const { t, rich } = catalogue("entry", entry);
