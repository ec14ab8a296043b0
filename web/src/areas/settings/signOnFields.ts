/** The form of single sign-on: what the API has, as it is typed. */
import type { SetSingleSignOn, SignOnSettings } from "@/api/singleSignOn";

export interface SignOnFields {
  issuer: string;
  client_id: string;
  client_secret: string;
  label: string;
  /** Separated by commas or spaces. */
  domains: string;
  /** Empty: only those who are invited. */
  role: string;
  owners: boolean;
  trusts_mfa: boolean;
}

export const readSignOn = ({ found }: SignOnSettings): SignOnFields => ({
  issuer: found?.issuer ?? "",
  client_id: found?.client_id ?? "",
  client_secret: "",
  label: found?.label ?? "",
  domains: found?.domains.join(", ") ?? "",
  role: found?.role ?? "",
  owners: found?.owners ?? false,
  trusts_mfa: found?.trusts_mfa ?? false,
});

export const readDomains = (text: string): string[] => text.split(/[\s,;]+/).filter(Boolean);

/** An empty secret is not sent: the one that is set stays. */
export const writeSignOn = ({ client_secret, domains, role, issuer, ...others }: SignOnFields): SetSingleSignOn => ({
  ...others,
  issuer: issuer.trim(),
  domains: readDomains(domains),
  role: role || null,
  ...(client_secret && { client_secret }),
});
