/** What the refusals of the sign-in routes mean, in words. */
import type { Problem } from "@/api/problem";
import { catalogue } from "@/locales/catalogue";
import entry from "@/locales/en/entry";

export const { t: entryText } = catalogue("entry", entry);

export function signInWords(problem: Problem, asksForCode = false): string | undefined {
  if (problem.status === 429) return entryText("tooMany", { seconds: problem.retryAfter ?? 60 });
  if (problem.code === "wrong_code") return entryText(asksForCode ? "wrongMfaCode" : "wrongCode");
  if (problem.status === 401) return entryText(asksForCode ? "wrongMfaCode" : "wrongCredentials");
  return undefined;
}
