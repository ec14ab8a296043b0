/** Texts of the pages under /segments. */
export default {
  title: "Segments",
  lead: "Groups of people by what they are and did, kept up all the time.",
} as const;
