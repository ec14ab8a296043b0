-- Sessions, limits on guessing, and the tokens of invitations and password resets.

-- name: sessions.add
-- Create a session; only the digest of its cookie is stored.
INSERT INTO sessions (id, user_id, hash, mfa, confirmed_at, ip, user_agent, created_at, last_used_at, expires_at, workspace_id)
VALUES (:id, :user_id, :hash, :mfa, :confirmed_at, :ip, :user_agent, :now, :now, :expires_at, :workspace_id);

-- name: sessions.find
-- Find the session of a cookie, with its user; one of single sign-on only as long as its workspace has that.
SELECT s.id, s.user_id, s.mfa, s.confirmed_at, s.created_at, s.last_used_at, s.expires_at, s.workspace_id, o.trusts_mfa,
    u.email, u.name, u.totp_confirmed_at, (SELECT count(*) FROM passkeys p WHERE p.user_id = u.id) AS passkeys
FROM sessions s JOIN users u ON u.id = s.user_id LEFT JOIN single_sign_on o ON o.workspace_id = s.workspace_id
WHERE s.hash = :hash AND s.expires_at > :now AND (s.workspace_id IS NULL OR o.workspace_id IS NOT NULL);

-- name: sessions.touch
-- Note that a session was used, and extend it.
UPDATE sessions SET last_used_at = :now, ip = :ip, expires_at = :expires_at WHERE id = :id AND last_used_at < :now;

-- name: sessions.confirm
-- Note that the user has proved in it who they are.
UPDATE sessions SET confirmed_at = :now, mfa = :mfa WHERE id = :id;

-- name: sessions.list
-- Return the sessions of a user, newest first.
SELECT id, mfa, ip, user_agent, created_at, last_used_at, expires_at FROM sessions
WHERE user_id = :user_id AND expires_at > :now AND id < :before ORDER BY id DESC LIMIT :n;

-- name: sessions.delete
-- End one session of a user.
DELETE FROM sessions WHERE user_id = :user_id AND id = :id;

-- name: sessions.delete_others
-- End all sessions of a user but one.
DELETE FROM sessions WHERE user_id = :user_id AND id <> :id;

-- name: sessions.prune
-- Delete sessions that have ended.
DELETE FROM sessions WHERE expires_at <= :now;

-- name: sign_in_tries.add
-- Count a try, and return how many there were since the first one of its window, and when that began.
INSERT INTO sign_in_tries (key, tries, started_at, expires_at) VALUES (:key, 1, @now, @now + CAST(:window AS bigint))
ON CONFLICT (key) DO UPDATE SET
    tries = CASE WHEN sign_in_tries.expires_at <= @now THEN 1 ELSE sign_in_tries.tries + 1 END,
    started_at = CASE WHEN sign_in_tries.expires_at <= @now THEN @now ELSE sign_in_tries.started_at END,
    expires_at = CASE WHEN sign_in_tries.expires_at <= @now THEN @now + CAST(:window AS bigint) ELSE sign_in_tries.expires_at END
RETURNING tries, expires_at - @now;

-- name: sign_in_tries.forget
-- Forget the tries of somebody who has signed in.
DELETE FROM sign_in_tries WHERE key = :key;

-- name: sign_in_tries.give_back
-- Take back a try that was right.
UPDATE sign_in_tries SET tries = tries - 1 WHERE key = :key AND tries > 0;

-- name: sign_in_tries.prune
-- Delete tries that no longer count.
DELETE FROM sign_in_tries WHERE expires_at <= @now;

-- name: account_tokens.add
-- Store a token; only its digest.
INSERT INTO account_tokens (id, kind, hash, workspace_id, email, role, user_id, created_at, expires_at)
VALUES (:id, :kind, :hash, :workspace_id, :email, :role, :user_id, :now, :expires_at);

-- name: account_tokens.find
-- Find a token that is still good.
SELECT * FROM account_tokens WHERE kind = :kind AND hash = :hash AND expires_at > :now;

-- name: account_tokens.delete
-- Use up a token.
DELETE FROM account_tokens WHERE id = :id;

-- name: account_tokens.invitations
-- Return a page of the invitations of a workspace, newest first.
SELECT id, email, role, user_id, created_at, expires_at FROM account_tokens
WHERE workspace_id = :workspace_id AND kind = 'invitation' AND expires_at > :now AND id < :before ORDER BY id DESC LIMIT :n;

-- name: account_tokens.withdraw
-- Delete an invitation of a workspace.
DELETE FROM account_tokens WHERE workspace_id = :workspace_id AND kind = 'invitation' AND id = :id;

-- name: account_tokens.replace
-- Delete what a newer token of the same kind for the same person replaces.
DELETE FROM account_tokens WHERE kind = :kind AND email = :email AND coalesce(workspace_id, 0) = :workspace_id;

-- name: account_tokens.delete_kind
-- Delete all tokens of a kind.
DELETE FROM account_tokens WHERE kind = :kind;

-- name: account_tokens.prune
-- Delete tokens that have ended.
DELETE FROM account_tokens WHERE expires_at <= :now;

-- name: sessions.delete_cookie
-- End the session that the browser of a user had before.
DELETE FROM sessions WHERE hash = :hash AND user_id = :user_id;
