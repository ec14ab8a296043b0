/** Texts of the pages under /templates. */
export default {
  title: "Templates",
  lead: "The content of messages, written once and filled for each person.",
} as const;
