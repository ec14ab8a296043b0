/** The routes of accounts, until the OpenAPI document of the server has them: then the generated types win. */

type Json<T> = { headers: Record<string, unknown>; content: { "application/json": T } };
type Nothing = { headers: Record<string, unknown>; content?: never };
type None = { query?: never; header?: never; path?: never; cookie?: never };

type Call<Answer, Body = undefined, Path = undefined, Query = undefined> = {
  parameters: {
    query?: Query extends undefined ? never : Query;
    header?: never;
    cookie?: never;
  } & (Path extends undefined ? { path?: never } : { path: Path });
  responses: { 200: Answer extends undefined ? Nothing : Json<Answer> };
} & (Body extends undefined ? { requestBody?: never } : { requestBody: { content: { "application/json": Body } } });

export type Role = "owner" | "admin" | "marketer" | "developer" | "viewer";

export interface Me {
  user: { id: string; email: string; name: string; totp: boolean; recovery_codes: number; passkeys: number } | null;
  key: { id: string; name: string } | null;
  workspace: { id: string; name: string; mfa: "optional" | "required" } | null;
  role: Role | null;
  workspaces: { id: string; name: string; role: Role }[];
  permissions: string[];
  session: { id: string; expires_at: string; mfa: boolean; confirmed_until: string | null } | null;
}
export interface Session {
  id: string;
  current: boolean;
  created_at: string;
  last_used_at: string;
  expires_at: string;
  ip: string;
  user_agent: string;
}
export interface Person {
  id: string;
  email: string;
  name: string;
  role: Role;
  totp: boolean;
  last_used_at: string | null;
}
export interface Invitation {
  id: string;
  email: string;
  role: Role;
  /** Only in the answer that creates it. */
  url?: string;
  expires_at: string;
}
export interface RoleDescription {
  role: Role;
  description: string;
  permissions: string[];
}
export interface AuditEntry {
  id: string;
  at: string;
  actor: { kind: string; id: string | null; name: string | null };
  action: string;
  resource: string | null;
  before: unknown;
  after: unknown;
  ip: string | null;
}
export interface Workspace {
  id: string;
  name: string;
  time_zone: string;
  mfa: "optional" | "required";
}
export interface RecoveryCodes {
  recovery_codes: string[];
}

interface Credentials {
  email: string;
  password: string;
  totp?: string;
}
type Id = { id: string };
type Page<T> = { data: T[]; next?: string | null };
type Route<Methods> = { parameters: None } & Methods;

export interface paths {
  "/v1/setup": Route<{
    get: Call<{ needs_owner: boolean; version: string }>;
    post: Call<Me, { code: string; email: string; password: string; name?: string; workspace?: string }>;
  }>;
  "/v1/sessions": Route<{ get: Call<Page<Session>>; post: Call<Me, Credentials> }>;
  "/v1/sessions/{id}": Route<{ delete: Call<undefined, undefined, Id> }>;
  "/v1/sessions/current": Route<{ delete: Call<undefined> }>;
  "/v1/sessions/current/confirm": Route<{ post: Call<Me["session"], { password?: string; totp?: string }> }>;
  "/v1/me": Route<{ get: Call<Me> }>;
  "/v1/roles": Route<{
    get: Call<{ data: RoleDescription[]; permissions: { name: string; description: string }[] }>;
  }>;
  "/v1/users/me": Route<{ patch: Call<Me, { name?: string }> }>;
  "/v1/users/me/password": Route<{ post: Call<undefined, { password: string; new_password: string }> }>;
  "/v1/users/me/totp": Route<{
    post: Call<{ secret: string; uri: string; qr: string }>;
    delete: Call<undefined>;
  }>;
  "/v1/users/me/totp/confirm": Route<{ post: Call<RecoveryCodes, { code: string }> }>;
  "/v1/users/me/recovery-codes": Route<{ post: Call<RecoveryCodes> }>;
  "/v1/users": Route<{ get: Call<Page<Person>> }>;
  "/v1/users/{id}": Route<{ patch: Call<Person, { role: Role }, Id>; delete: Call<undefined, undefined, Id> }>;
  "/v1/invitations": Route<{ get: Call<Page<Invitation>>; post: Call<Invitation, { email: string; role: Role }> }>;
  "/v1/invitations/{id}": Route<{ delete: Call<undefined, undefined, Id> }>;
  "/v1/invitations/accept": Route<{ post: Call<Me, { token: string; name: string; password: string }> }>;
  "/v1/password-resets": Route<{ post: Call<undefined, { email: string }> }>;
  "/v1/password-resets/confirm": Route<{ post: Call<undefined, { token: string; password: string }> }>;
  "/v1/keys/{id}/rotate": Route<{ post: Call<{ id: string; key: string }, { overlap_hours?: number }, Id> }>;
  "/v1/workspace": Route<{
    get: Call<Workspace>;
    patch: Call<Workspace, { name?: string; time_zone?: string; mfa?: "optional" | "required" }>;
    delete: Call<undefined, { name: string }>;
  }>;
  "/v1/workspaces": Route<{ post: Call<{ id: string; name: string }, { name: string }> }>;
  "/v1/audit": Route<{
    get: Call<
      Page<AuditEntry>,
      undefined,
      undefined,
      { after?: string; limit?: number; actor?: string; action?: string; q?: string }
    >;
  }>;
}
