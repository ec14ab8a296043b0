/** The texts of this area. */
import { catalogue } from "@/locales/catalogue";
import segments from "@/locales/en/segments";

export const { t, rich } = catalogue("segments", segments);
