/** The texts of the parts. */
import { catalogue } from "@/locales/catalogue";
import parts from "@/locales/en/parts";

export const { t, rich } = catalogue("parts", parts);
