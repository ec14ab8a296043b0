/** Texts of the pages under /connections. */
export default {
  title: "Connections",
  lead: "The provider accounts that messages are sent through.",
} as const;
