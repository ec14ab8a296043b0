/** The texts of the pages of text clients. */
import { catalogue } from "@/locales/catalogue";
import textClients from "@/locales/en/textClients";

export const { t, rich } = catalogue("textClients", textClients);
