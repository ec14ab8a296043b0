/** Filters that stand in the address, so that a link shows the same: strings, each empty when it is not set. */
import { useNavigate, useSearch } from "@tanstack/react-router";

type Search<Name extends string> = { [Key in Name]?: string };

/** Returns the `validateSearch` of a route that has these filters. `after` is the place in the list. */
export function searchTexts<const Name extends string>(...names: Name[]) {
  return (search: Record<string, unknown>): Search<Name | "after"> => {
    const found: Record<string, string> = {};
    for (const name of [...names, "after"]) {
      const value = search[name];
      if (typeof value === "string" || typeof value === "number") found[name] = String(value);
    }
    return found as Search<Name | "after">;
  };
}

export function useFilters<const Name extends string>(...names: Name[]) {
  const search = useSearch({ strict: false }) as Record<string, string | undefined>;
  const navigate = useNavigate();

  /** Any change of the filters leads back to the first page. */
  function go(next: Record<string, string | undefined>) {
    void navigate({
      to: ".",
      search: ((before: Record<string, unknown>) => drop({ ...before, after: undefined, ...next })) as never,
      replace: true,
      state: (before) => ({ ...before, trail: undefined }),
    });
  }

  const values = Object.fromEntries(names.map((name) => [name, search[name] ?? ""])) as Record<Name, string>;
  const any = names.some((name) => values[name] !== "");
  return {
    values,
    /** For queries of the API: a filter that is not set is absent. */
    query: drop(values) as Search<Name>,
    set: (name: Name, value: string) => go({ [name]: value || undefined }),
    /** For the part that shows an empty list: absent without filters. */
    clear: any ? () => go(Object.fromEntries(names.map((name) => [name, undefined]))) : undefined,
    after: search.after,
  };
}

function drop(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== ""));
}
