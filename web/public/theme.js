// Sets the colour scheme before the first paint; a file of its own, because the page allows no inline script.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("waypost.theme");
  } catch {
    // Without storage the scheme of the system applies.
  }
  const dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();
