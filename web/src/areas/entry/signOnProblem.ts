/** Why single sign-on let somebody not in, in words. */
import { t } from "./texts";

const WORDS = {
  sign_on_state: "signOnState",
  sign_on_denied: "signOnDenied",
  sign_on_provider: "signOnProvider",
  sign_on_token: "signOnToken",
  sign_on_unavailable: "signOnUnavailable",
  sign_on_email: "signOnEmail",
  sign_on_domain: "signOnDomain",
  sign_on_not_invited: "signOnNotInvited",
  sign_on_owner: "signOnOwner",
  sign_on_other_person: "signOnOtherPerson",
  rate_limited: "signOnLimited",
} as const;

/** The code stands in the address, where everybody can write: nothing of it is shown. */
export function signOnProblem(code: string): string {
  return t(Object.hasOwn(WORDS, code) ? WORDS[code as keyof typeof WORDS] : "signOnFailed");
}
