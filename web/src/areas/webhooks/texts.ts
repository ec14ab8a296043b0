/** The texts of this area. */
import { catalogue } from "@/locales/catalogue";
import webhooks from "@/locales/en/webhooks";

export const { t, rich, has } = catalogue("webhooks", webhooks);
