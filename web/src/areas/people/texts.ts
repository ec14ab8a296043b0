/** The texts of this area. */
import { catalogue } from "@/locales/catalogue";
import people from "@/locales/en/people";

export const { has, t, rich } = catalogue("people", people);
