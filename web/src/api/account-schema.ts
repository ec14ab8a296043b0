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
/** Who needs a second factor: nobody, who changes connections and webhooks, everybody. */
export type MfaRule = "optional" | "changes" | "required";

interface OwnWorkspace {
  id: string;
  name: string;
  role: string | null;
  mfa: string;
}
export interface Me {
  user: { id: string; email: string; name: string; totp: boolean; recovery_codes: number } | null;
  key: { id: string; name: string } | null;
  workspace: OwnWorkspace | null;
  role: string | null;
  workspaces: OwnWorkspace[];
  permissions: string[];
  session: { id: string; expires_at: string; mfa: boolean; confirmed_until: string } | null;
}
export interface Session {
  id: string;
  current: boolean;
  mfa: boolean;
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
  role: string;
  totp: boolean;
  joined_at: string;
  last_used_at: string | null;
}
export interface Invitation {
  id: string;
  email: string;
  role: string;
  created_at: string;
  expires_at: string;
}
export interface AuditEntry {
  id: string;
  at: string;
  actor: { kind: string; id: string | null; name: string };
  action: string;
  resource: string;
  before?: unknown;
  after?: unknown;
  ip: string | null;
}
export interface Workspace {
  id: string;
  name: string;
  mfa: MfaRule;
  created_at: string;
}
export interface Key {
  id: string;
  name: string;
  scopes: string[];
  hint: string;
  created_at: string;
  expires_at: string | null;
  last_used_at: string | null;
  last_used_ip: string | null;
}
interface Roles {
  data: { role: string; description: string; permissions: string[] }[];
  permissions: { name: string; description: string }[];
}
interface RecoveryCodes {
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

type List = { after?: string; limit?: number };

export interface paths {
  "/v1/setup": Route<{
    get: Call<{ needs_owner: boolean; version: string }>;
    post: Call<Me, { code: string; email: string; password: string; name?: string; workspace?: string }>;
  }>;
  "/v1/sessions": Route<{ get: Call<Page<Session>, undefined, undefined, List>; post: Call<Me, Credentials> }>;
  "/v1/sessions/{id}": Route<{ delete: Call<undefined, undefined, Id> }>;
  "/v1/sessions/current/confirm": Route<{ post: Call<Me, { password?: string; totp?: string }> }>;
  "/v1/me": Route<{ get: Call<Me> }>;
  "/v1/roles": Route<{ get: Call<Roles> }>;
  "/v1/users/me": Route<{ patch: Call<undefined, { name: string }> }>;
  "/v1/users/me/password": Route<{ post: Call<undefined, { password: string; new_password: string }> }>;
  "/v1/users/me/totp": Route<{
    post: Call<{ secret: string; uri: string; qr: string }>;
    delete: Call<undefined>;
  }>;
  "/v1/users/me/totp/confirm": Route<{ post: Call<RecoveryCodes, { code: string }> }>;
  "/v1/users/me/recovery-codes": Route<{ post: Call<RecoveryCodes> }>;
  "/v1/users": Route<{ get: Call<Page<Person>, undefined, undefined, List> }>;
  "/v1/users/{id}": Route<{ patch: Call<Person, { role: string }, Id>; delete: Call<undefined, undefined, Id> }>;
  "/v1/invitations": Route<{
    get: Call<Page<Invitation>, undefined, undefined, List>;
    post: Call<Invitation & { url: string }, { email: string; role?: string }>;
  }>;
  "/v1/invitations/{id}": Route<{ delete: Call<undefined, undefined, Id> }>;
  "/v1/invitations/accept": Route<{ post: Call<Me, { token: string; name?: string; password?: string }> }>;
  "/v1/password-resets": Route<{ post: Call<undefined, { email: string }> }>;
  "/v1/password-resets/confirm": Route<{ post: Call<undefined, { token: string; password: string }> }>;
  "/v1/keys/{id}/rotate": Route<{ post: Call<Key & { key: string }, { overlap_hours?: number }, Id> }>;
  "/v1/workspace": Route<{
    get: Call<Workspace>;
    patch: Call<Workspace, { name?: string | null; mfa?: MfaRule | null }>;
    delete: Call<undefined, { name: string }>;
  }>;
  "/v1/workspaces": Route<{
    post: Call<{ id: string; name: string; api_key: string; write_key: string }, { name: string }>;
  }>;
  "/v1/audit": Route<{
    get: Call<Page<AuditEntry>, undefined, undefined, List & { actor?: string; action?: string; q?: string }>;
  }>;
}
