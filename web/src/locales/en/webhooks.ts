/** Texts of the pages under /webhooks. */
export default {
  title: "Webhooks",
  lead: "The endpoints that get your events, signed and in order to be proven.",
} as const;
