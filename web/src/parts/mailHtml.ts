/** Reads the HTML of a mail as a document, and writes it again. */

// The policy of the page allows no styles in HTML and reports those of a document that is only read. So they have other
// names in it.
const ATTRIBUTE = "data-kept-style";
const ELEMENT = '<script type="kept"';

/** Returns the document of a mail; its styles are there under other names. */
export function readMail(html: string): Document {
  const kept = html
    .replaceAll(/(\s)style(\s*=)/gi, `$1${ATTRIBUTE}$2`)
    // Neither is applied or run in a document that is only read.
    .replaceAll(/<style\b([^>]*)>([\s\S]*?)<\/style\s*>/gi, `${ELEMENT}$1>$2</script>`);
  return new DOMParser().parseFromString(kept, "text/html");
}

/** Gives an element that is added to such a document its style. */
export function setStyle(element: Element, style: string) {
  element.setAttribute(ATTRIBUTE, style);
}

/** Returns the HTML of a document that `readMail` gave. */
export function writeMail(mail: Document): string {
  return mail.documentElement.outerHTML
    .replaceAll(ATTRIBUTE, "style")
    .replaceAll(/<script type="kept"([^>]*)>([\s\S]*?)<\/script>/g, "<style$1>$2</style>");
}
