/** Asks before a page with unsaved changes is left. */
import { useBlocker } from "@tanstack/react-router";
import { useLayoutEffect } from "react";
import { confirm } from "./dialogs";
import { t } from "./texts";

/** How many forms on the page have unsaved changes. */
let typed = 0;

/** Returns whether the page has changes that are not saved. */
export const anythingTyped = () => typed > 0;

export function useGuard(changed: boolean): void {
  useLayoutEffect(() => {
    if (!changed) return;
    typed++;
    return () => {
      typed--;
    };
  }, [changed]);
  useBlocker({
    disabled: !changed,
    enableBeforeUnload: changed,
    shouldBlockFn: async ({ current, next }) =>
      // The same page with other filters keeps its form.
      current.pathname !== next.pathname && !(await confirm({ title: t("unsaved"), action: t("leave"), danger: true })),
  });
}
