/** The person of the tests: an owner who may do everything. */
import type { Me } from "@/api/me";
import type { Workspace } from "@/api/workspaces";

export const PERMISSIONS = [
  "events.read",
  "events.send",
  "people.read",
  "people.write",
  "templates.read",
  "templates.write",
  "campaigns.read",
  "campaigns.write",
  "messages.read",
  "messages.send",
  "connections.read",
  "connections.write",
  "webhooks.read",
  "webhooks.write",
  "webhooks.secrets",
  "settings.read",
  "settings.write",
  "keys.read",
  "keys.write",
  "users.read",
  "users.write",
  "audit.read",
  "workspace.delete",
];

export const PERSON: Me = {
  user: { id: "usr_1", email: "ada@example.com", name: "Ada", totp: false, recovery_codes: 0, passkeys: 0 },
  key: null,
  workspace: { id: "ws_1", name: "Shop", role: "owner", mfa: "optional" },
  role: "owner",
  workspaces: [{ id: "ws_1", name: "Shop", role: "owner", mfa: "optional" }],
  permissions: PERMISSIONS,
  session: {
    id: "ses_1",
    expires_at: "2027-01-01T00:00:00Z",
    mfa: false,
    confirmed_until: "2026-01-01T00:00:00Z",
    single_sign_on: false,
  },
};

/** The same person, let in by the provider of the workspace. */
export const BY_SIGN_ON: Me = { ...PERSON, session: PERSON.session && { ...PERSON.session, single_sign_on: true } };

/** The same person in another role. */
export const withPermissions = (...permissions: string[]): Me => ({ ...PERSON, role: "viewer", permissions });

/** The workspace of the person, as its settings show it. */
export const WORKSPACE: Workspace = {
  id: "ws_1",
  name: "Shop",
  mfa: "optional",
  time_zone: "UTC",
  retention: { event_days: null, attempt_days: null, server_event_days: 90, server_attempt_days: 30 },
  created_at: "2026-11-01T10:00:00Z",
};
