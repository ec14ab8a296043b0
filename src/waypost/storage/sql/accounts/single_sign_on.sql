-- The providers of workspaces for single sign-on, and whom they have signed in.

-- name: single_sign_on.get
-- Return the provider of a workspace.
SELECT workspace_id, label, issuer, client_id, client_secret, role, owners, trusts_mfa, updated_at FROM single_sign_on
WHERE workspace_id = :workspace_id;

-- name: single_sign_on.domains
-- Return the domains of email addresses for which a workspace has single sign-on.
SELECT domain FROM single_sign_on_domains WHERE workspace_id = :workspace_id ORDER BY position;

-- name: single_sign_on.any
-- Return whether a workspace has single sign-on.
SELECT EXISTS (SELECT 1 FROM single_sign_on s JOIN workspaces w ON w.id = s.workspace_id WHERE w.deleted_at IS NULL);

-- name: single_sign_on.of_domain
-- Return the providers for a domain of email addresses.
SELECT s.workspace_id, s.label, s.issuer FROM single_sign_on_domains d JOIN single_sign_on s ON s.workspace_id = d.workspace_id
JOIN workspaces w ON w.id = s.workspace_id
WHERE d.domain = :domain AND w.deleted_at IS NULL ORDER BY s.workspace_id LIMIT :n;

-- name: single_sign_on.set
-- Set the provider of a workspace.
INSERT INTO single_sign_on (workspace_id, label, issuer, client_id, client_secret, role, owners, trusts_mfa, updated_at)
VALUES (:workspace_id, :label, :issuer, :client_id, :client_secret, :role, :owners, :trusts_mfa, :now)
ON CONFLICT (workspace_id) DO UPDATE SET label = excluded.label, issuer = excluded.issuer, client_id = excluded.client_id,
    client_secret = excluded.client_secret, role = excluded.role, owners = excluded.owners, trusts_mfa = excluded.trusts_mfa,
    updated_at = excluded.updated_at;

-- name: single_sign_on.add_domain
-- Add a domain of email addresses to the provider of a workspace.
INSERT INTO single_sign_on_domains (domain, workspace_id, position) VALUES (:domain, :workspace_id, :position);

-- name: single_sign_on.delete
-- Delete the provider of a workspace.
DELETE FROM single_sign_on WHERE workspace_id = :workspace_id;

-- name: single_sign_on.delete_domains
-- Delete the domains of the provider of a workspace.
DELETE FROM single_sign_on_domains WHERE workspace_id = :workspace_id;

-- name: single_sign_on.delete_identities
-- Forget whom the provider of a workspace has signed in.
DELETE FROM single_sign_on_identities WHERE workspace_id = :workspace_id;

-- name: single_sign_on.end_sessions
-- End the sessions that the provider of a workspace has opened.
DELETE FROM sessions WHERE workspace_id = CAST(:workspace_id AS bigint);

-- name: single_sign_on.end_sessions_of
-- End the sessions of a user that the provider of a workspace has opened.
DELETE FROM sessions WHERE user_id = :user_id AND workspace_id = CAST(:workspace_id AS bigint);

-- name: single_sign_on.identity
-- Return whom the provider of a workspace means by a subject, if they are in the workspace.
SELECT u.id, u.email, m.role FROM single_sign_on_identities i JOIN users u ON u.id = i.user_id
JOIN memberships m ON m.user_id = i.user_id AND m.workspace_id = i.workspace_id
WHERE i.workspace_id = :workspace_id AND i.issuer = :issuer AND i.subject = :subject;

-- name: single_sign_on.add_identity
-- Note whom the provider of a workspace means by a subject; nothing if it means somebody already, or they have another one.
INSERT INTO single_sign_on_identities (workspace_id, issuer, subject, user_id, created_at)
VALUES (:workspace_id, :issuer, :subject, :user_id, :now) ON CONFLICT DO NOTHING;

-- name: single_sign_on.delete_identity
-- Forget by which subject the provider of a workspace means a user.
DELETE FROM single_sign_on_identities WHERE workspace_id = :workspace_id AND user_id = :user_id;

-- name: single_sign_on.invitation
-- Return the open invitation of an address to a workspace.
SELECT id, role FROM account_tokens
WHERE workspace_id = :workspace_id AND kind = 'invitation' AND email = :email AND expires_at > :now;

-- name: single_sign_on.encrypted
-- Return a step of providers with their encrypted secrets.
SELECT workspace_id, client_secret FROM single_sign_on WHERE workspace_id > :after ORDER BY workspace_id LIMIT :n;

-- name: single_sign_on.reencrypt
-- Replace an encrypted secret, unless it has changed.
UPDATE single_sign_on SET client_secret = :after WHERE workspace_id = :id AND client_secret = :before;
