-- Passkeys of users, and the challenges that were used.

-- name: passkeys.add
-- Store a passkey, unless somebody has it already.
INSERT INTO passkeys (id, user_id, credential_id, public_key, sign_count, name, created_at)
VALUES (:id, :user_id, :credential_id, :public_key, :sign_count, :name, :now)
ON CONFLICT (credential_id) DO NOTHING;

-- name: passkeys.find
-- Find a passkey by what the authenticator names it.
SELECT id, user_id, public_key, sign_count FROM passkeys WHERE credential_id = :credential_id;

-- name: passkeys.list
-- Return a page of the passkeys of a user, newest first.
SELECT id, name, created_at, last_used_at, credential_id FROM passkeys
WHERE user_id = :user_id AND id < :before ORDER BY id DESC LIMIT :n;

-- name: passkeys.get
-- Return a passkey of a user.
SELECT id, name, created_at, last_used_at, credential_id FROM passkeys WHERE user_id = :user_id AND id = :id;

-- name: passkeys.count
-- Count the passkeys of a user.
SELECT count(*) FROM passkeys WHERE user_id = :user_id;

-- name: passkeys.use
-- Note that a passkey was used, unless its counter has not grown since another use.
UPDATE passkeys SET sign_count = :sign_count, last_used_at = :now
WHERE id = :id AND (sign_count < :sign_count OR (sign_count = 0 AND CAST(:sign_count AS bigint) = 0));

-- name: passkeys.rename
-- Change the name of a passkey.
UPDATE passkeys SET name = :name WHERE user_id = :user_id AND id = :id;

-- name: passkeys.delete
-- Delete a passkey of a user.
DELETE FROM passkeys WHERE user_id = :user_id AND id = :id;

-- name: passkeys.delete_all
-- Delete all passkeys of a user.
DELETE FROM passkeys WHERE user_id = :user_id;

-- name: used_challenges.add
-- Use up a challenge, unless it was used before.
INSERT INTO used_challenges (hash, expires_at) VALUES (:hash, :expires_at) ON CONFLICT (hash) DO NOTHING;

-- name: used_challenges.prune
-- Delete challenges that would be refused for their age.
DELETE FROM used_challenges WHERE expires_at <= :now;
