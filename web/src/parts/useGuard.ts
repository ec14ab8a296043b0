/** Asks before a page with unsaved changes is left. */
import { useBlocker } from "@tanstack/react-router";
import { confirm } from "./dialogs";
import { t } from "./texts";

export function useGuard(changed: boolean): void {
  useBlocker({
    disabled: !changed,
    enableBeforeUnload: changed,
    shouldBlockFn: async ({ current, next }) =>
      // The same page with other filters keeps its form.
      current.pathname !== next.pathname && !(await confirm({ title: t("unsaved"), action: t("leave"), danger: true })),
  });
}
