/** Texts of the pages under /messages. */
export default {
  title: "Messages",
  lead: "Every message that was sent, with its whole story.",
} as const;
