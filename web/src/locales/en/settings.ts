/** Texts of the pages under /settings. */
export default {
  title: "Settings",
  lead: "Your account, the people of the workspace, keys and rules.",
} as const;
