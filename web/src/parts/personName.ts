/** What a person is called where there is room for one name. */
export interface Named {
  id?: string;
  profile_id?: string;
  first_name?: string | null;
  last_name?: string | null;
  email: string | null;
  phone: string | null;
  user_id: string | null;
}

/** Returns the name, else the email address, the phone number, the user id, or the profile id. */
export function personName(one: Named): string {
  const name = [one.first_name, one.last_name].filter(Boolean).join(" ");
  return name || (one.email ?? one.phone ?? one.user_id ?? one.id ?? one.profile_id ?? "");
}
