/** Texts of the pages under /. */
export default {
  title: "Home",
  lead: "What happens in this workspace.",
} as const;
