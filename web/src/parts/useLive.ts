/** Keeps queries fresh while somebody looks. One hook, so that a stream of the server can take the place of polling. */
import { type QueryKey, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";

const EVERY_MS = 10_000;

/** Loads the queries again whose keys begin with one of these: `useLive(["webhooks"], ["ledger"])`. */
export function useLive(...keys: QueryKey[]): void {
  const queries = useQueryClient();
  const named = JSON.stringify(keys);
  useEffect(() => {
    const refresh = () => {
      if (document.hidden) return;
      for (const queryKey of JSON.parse(named) as QueryKey[]) {
        void queries.invalidateQueries({ queryKey, refetchType: "active" });
      }
    };
    const timer = setInterval(refresh, EVERY_MS);
    document.addEventListener("visibilitychange", refresh);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", refresh);
    };
  }, [queries, named]);
}
