/** What can be wrong with a mail that renders: said beside the preview. */
import { readMail } from "@/parts/mailHtml";
import { t } from "./texts";

const CLIPPED_BYTES = 102 * 1024;

export function lintMail(html: string): string[] {
  const page = readMail(html);
  const links = [...page.querySelectorAll("a")];
  const found: string[] = [];
  // In a preview these links lead to a path of this server.
  if (!links.some((link) => /\/u\//.test(link.getAttribute("href") ?? ""))) found.push(t("noUnsubscribe"));
  if ([...page.images].some((image) => !image.hasAttribute("alt"))) found.push(t("noAlt"));
  if (links.some((link) => ["", "#"].includes(link.getAttribute("href") ?? ""))) found.push(t("noHref"));
  if (new Blob([html]).size > CLIPPED_BYTES) found.push(t("clipped"));
  return found;
}
