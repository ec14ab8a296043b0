/** Keeps queries fresh while somebody looks: at once when the server says that something has changed, and now and then. */
import { type QueryKey, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { onChange } from "@/api/live";

/** What says nothing of itself, such as the progress of an import, is asked for this often. */
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
    const leave = onChange(refresh);
    document.addEventListener("visibilitychange", refresh);
    return () => {
      clearInterval(timer);
      leave();
      document.removeEventListener("visibilitychange", refresh);
    };
  }, [queries, named]);
}
