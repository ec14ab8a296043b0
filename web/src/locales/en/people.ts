/** Texts of the pages under /people. */
export default {
  title: "People",
  lead: "Everybody that events, imports and messages told Waypost about.",
} as const;
