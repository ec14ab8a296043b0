/** The texts of this area. */
import { catalogue } from "@/locales/catalogue";
import campaigns from "@/locales/en/campaigns";

export const { t, rich, has } = catalogue("campaigns", campaigns);
