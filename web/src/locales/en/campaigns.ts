/** Texts of the pages under /campaigns. */
export default {
  title: "Campaigns",
  lead: "One message to many people, now, later or again and again.",
} as const;
