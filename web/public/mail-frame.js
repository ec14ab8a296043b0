// Shows the HTML of a mail in a frame without an origin. Its policy lets this file run, and nothing of the mail.
addEventListener("message", (event) => {
  if (event.source !== parent || typeof event.data?.html !== "string") return;
  const mail = new DOMParser().parseFromString(event.data.html, "text/html");
  // Scripts that a parser of text made never run; a refresh would leave the frame.
  // The policy refuses style sheets of other hosts, such as the fonts of MJML: none is asked for.
  for (const element of mail.querySelectorAll("script, meta[http-equiv], base, link")) element.remove();
  for (const style of mail.querySelectorAll("style"))
    style.textContent = style.textContent.replace(/@import[^;]*;/gi, "");
  const shown = document.adoptNode(mail.documentElement);
  if (event.data.dark) shown.style.filter = "invert(1) hue-rotate(180deg)";
  document.documentElement.replaceWith(shown);
  new ResizeObserver(report).observe(shown);
  report();
});

function report() {
  parent.postMessage({ height: document.documentElement.scrollHeight }, "*");
}

addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
  if (!link) return;
  event.preventDefault();
  parent.postMessage({ link: link.getAttribute("href") }, "*");
});

parent.postMessage({ ready: true }, "*");
