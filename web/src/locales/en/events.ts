/** Texts of the pages under /events. */
export default {
  title: "Events",
  lead: "What happened, as it happens.",
} as const;
