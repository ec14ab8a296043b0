/** What happens after signing in: the answer says who the person is, and the page that they wanted opens. */
import { useQueryClient } from "@tanstack/react-query";
import { useRouter } from "@tanstack/react-router";
import { type Me, meQuery } from "@/api/me";

/** Returns the path if it is one of this server, else the first page: a link must not lead people elsewhere. */
export function ownPath(to: string | undefined, origin = window.location.origin): string {
  if (!to?.startsWith("/")) return "/";
  try {
    const url = new URL(to, origin);
    const path = url.pathname + url.search + url.hash;
    return url.origin === origin && !path.startsWith("//") ? path : "/";
  } catch {
    return "/";
  }
}

export function useArrive(to?: string): (me: Me) => void {
  const queries = useQueryClient();
  const router = useRouter();
  return (me) => {
    queries.clear();
    queries.setQueryData(meQuery.queryKey, me);
    router.history.push(ownPath(to));
  };
}

/** Of the link that was opened last: signing in comes back to its page without it. */
let token = "";

/** Returns the token of a link, which stands behind the # so that no server log has it. */
export function readToken(): string {
  token = window.location.hash.replace(/^#/, "") || token;
  return token;
}
