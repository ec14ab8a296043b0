/** The texts of this area. */
import { catalogue } from "@/locales/catalogue";
import messages from "@/locales/en/messages";

export const { t, rich, has } = catalogue("messages", messages);
