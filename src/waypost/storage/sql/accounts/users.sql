-- Users, their roles in workspaces, and their second factor.

-- name: users.add
-- Create a user.
INSERT INTO users (id, email, name, password, created_at, updated_at) VALUES (:id, :email, :name, :password, :now, :now);

-- name: users.any
-- Return whether there is a user.
SELECT EXISTS (SELECT 1 FROM users);

-- name: users.by_email
-- Find a user by address.
SELECT * FROM users WHERE email = :email;

-- name: users.get
-- Return a user.
SELECT * FROM users WHERE id = :id;

-- name: users.lock
-- Lock a user, so that changes of the second factors come one after the other.
UPDATE users SET updated_at = updated_at WHERE id = :id;

-- name: users.rename
-- Change the name of a user.
UPDATE users SET name = :name, updated_at = :now WHERE id = :id;

-- name: users.set_password
-- Change the password of a user.
UPDATE users SET password = :password, updated_at = :now WHERE id = :id;

-- name: users.offer_totp
-- Store the secret of a second factor that is not confirmed yet; a confirmed one stays.
UPDATE users SET totp_secret = :secret, totp_step = 0, updated_at = :now WHERE id = :id AND totp_confirmed_at IS NULL;

-- name: users.use_totp_step
-- Take the step of a code, unless it or a later one was taken before.
UPDATE users SET totp_step = :step WHERE id = :id AND totp_step < :step AND totp_secret = :secret;

-- name: users.confirm_totp
-- Turn the second factor on.
UPDATE users SET totp_confirmed_at = :now, recovery_codes = :codes, updated_at = :now
WHERE id = :id AND totp_confirmed_at IS NULL AND totp_secret = :secret;

-- name: users.remove_totp
-- Turn the second factor off.
UPDATE users SET totp_secret = NULL, totp_confirmed_at = NULL, recovery_codes = '[]', updated_at = :now WHERE id = :id;

-- name: users.set_recovery_codes
-- Replace the recovery codes, unless another request has changed them.
UPDATE users SET recovery_codes = :codes, updated_at = :now WHERE id = :id AND recovery_codes = :before;

-- name: users.encrypted
-- Return a step of users with an encrypted secret.
SELECT id, totp_secret FROM users WHERE id > :after AND totp_secret IS NOT NULL ORDER BY id LIMIT :n;

-- name: users.reencrypt
-- Replace an encrypted secret, unless it has changed.
UPDATE users SET totp_secret = :after WHERE id = :id AND totp_secret = :before;

-- name: memberships.set
-- Give a user a role in a workspace.
INSERT INTO memberships (user_id, workspace_id, role, created_at) VALUES (:user_id, :workspace_id, :role, :now)
ON CONFLICT (user_id, workspace_id) DO UPDATE SET role = excluded.role;

-- name: memberships.get
-- Return the role of a user in a workspace.
SELECT role FROM memberships WHERE user_id = :user_id AND workspace_id = :workspace_id;

-- name: memberships.delete
-- Take a user out of a workspace.
DELETE FROM memberships WHERE user_id = :user_id AND workspace_id = :workspace_id;

-- name: memberships.owners
-- Return the owners of a workspace.
SELECT user_id FROM memberships WHERE workspace_id = :workspace_id AND role = 'owner';

-- name: memberships.of_user
-- Return the workspaces of a user, with the role in each.
SELECT w.id, w.name, m.role, w.mfa FROM memberships m JOIN workspaces w ON w.id = m.workspace_id
WHERE m.user_id = :user_id AND w.deleted_at IS NULL ORDER BY w.id;

-- name: memberships.list
-- Return a page of the users of a workspace, newest first.
SELECT u.id, u.email, u.name, m.role, u.totp_confirmed_at, m.created_at,
    (SELECT max(s.last_used_at) FROM sessions s WHERE s.user_id = u.id) AS last_used_at,
    (SELECT count(*) FROM passkeys p WHERE p.user_id = u.id) AS passkeys
FROM memberships m JOIN users u ON u.id = m.user_id
WHERE m.workspace_id = :workspace_id AND u.id < :before ORDER BY u.id DESC LIMIT :n;

-- name: memberships.member
-- Return one user of a workspace, as the list does.
SELECT u.id, u.email, u.name, m.role, u.totp_confirmed_at, m.created_at,
    (SELECT max(s.last_used_at) FROM sessions s WHERE s.user_id = u.id) AS last_used_at,
    (SELECT count(*) FROM passkeys p WHERE p.user_id = u.id) AS passkeys
FROM memberships m JOIN users u ON u.id = m.user_id
WHERE m.workspace_id = :workspace_id AND u.id = :user_id;
