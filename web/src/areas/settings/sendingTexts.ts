/** The texts of the pages of sending rules and tracking. */
import { catalogue } from "@/locales/catalogue";
import sending from "@/locales/en/sending";

export const { t, rich } = catalogue("sending", sending);
