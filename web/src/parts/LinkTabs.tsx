/** Tabs that are addresses: each can be linked to, and opened in a tab of the browser. */
import { Link, type LinkProps } from "@tanstack/react-router";
import classes from "./LinkTabs.module.css";

export interface LinkTab {
  label: string;
  to: LinkProps["to"];
  params?: Record<string, string>;
  search?: Record<string, string | undefined>;
  /** Only this very address counts as this tab. */
  exact?: boolean;
}

export function LinkTabs({ label, tabs }: { label: string; tabs: readonly LinkTab[] }) {
  return (
    <nav aria-label={label} className={classes.tabs}>
      {tabs.map(({ label: name, to, params, search, exact = false }) => (
        <Link
          key={name}
          to={to}
          params={params as never}
          search={(search ?? {}) as never}
          activeOptions={{ exact, includeSearch: search !== undefined, explicitUndefined: true }}
          className={classes.tab}
        >
          {name}
        </Link>
      ))}
    </nav>
  );
}
