/** The texts of the shell. */
import { catalogue } from "@/locales/catalogue";
import shell from "@/locales/en/shell";

export const { t, rich } = catalogue("shell", shell);
