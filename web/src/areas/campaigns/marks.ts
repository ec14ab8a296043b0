/** Writes how many people clicked on each link into the HTML of a mail. */
import { readMail, setStyle, writeMail } from "@/parts/mailHtml";

/** Parameters that are added to links when they are sent, and not part of the mail that was written. */
const ADDED = ["utm_source", "utm_medium", "utm_campaign"];

/** A URL without what is added on the way, so that both sides of a link are alike. */
export function plainUrl(url: string): string {
  if (!URL.canParse(url)) return url;
  const found = new URL(url);
  for (const name of ADDED) found.searchParams.delete(name);
  return found.href;
}

interface Clicked {
  url: string;
  unique: number;
}

const BADGE =
  "display:inline-block;margin-inline-start:4px;padding:0 7px;border-radius:10px;background:#1c4b9c;color:#fff;" +
  "font:600 12px/20px sans-serif;text-decoration:none;white-space:nowrap;vertical-align:middle";

/** Returns the mail with a badge in each link, and the URLs that were clicked and are not in it. */
export function markClicks(html: string, links: readonly Clicked[], words: (n: number) => string) {
  const counts = new Map<string, number>();
  for (const { url, unique } of links) counts.set(plainUrl(url), (counts.get(plainUrl(url)) ?? 0) + unique);
  const page = readMail(html);
  const shown = new Set<string>();
  for (const link of page.querySelectorAll<HTMLAnchorElement>("a[href]")) {
    const url = plainUrl(link.getAttribute("href") ?? "");
    if (!/^https?:/.test(url)) continue;
    shown.add(url);
    const badge = page.createElement("span");
    setStyle(badge, BADGE);
    badge.textContent = words(counts.get(url) ?? 0);
    link.append(badge);
  }
  return {
    html: writeMail(page),
    missing: [...counts.keys()].filter((url) => !shown.has(url)),
  };
}
