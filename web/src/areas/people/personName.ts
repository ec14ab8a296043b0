/** What a person is called where there is room for one name. */
interface Named {
  id?: string;
  profile_id?: string;
  email: string | null;
  phone: string | null;
  user_id: string | null;
}

export const personName = (one: Named): string =>
  one.email ?? one.phone ?? one.user_id ?? one.id ?? one.profile_id ?? "";
