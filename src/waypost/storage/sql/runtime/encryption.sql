-- Encrypted columns, to reencrypt them with another key.

-- name: connections.encrypted
-- Return the encrypted columns of a page of connections, to reencrypt them.
SELECT id, secrets FROM connections WHERE id > :after AND deleted_at IS NULL ORDER BY id LIMIT :n;

-- name: connections.reencrypt
-- Replace the secrets of a connection, unless they have changed.
UPDATE connections SET secrets = :after WHERE id = :id AND secrets = :before;

-- name: endpoints.encrypted
-- Return the encrypted columns of a page of endpoints.
SELECT id, headers, secrets FROM endpoints WHERE id > :after ORDER BY id LIMIT :n;

-- name: endpoints.reencrypt
-- Replace the encrypted columns of an endpoint, unless they have changed.
UPDATE endpoints SET headers = :headers, secrets = :secrets
WHERE id = :id AND headers = :headers_before AND secrets = :secrets_before;

-- name: idempotency.encrypted
-- Return a page of stored responses.
SELECT workspace_id, key, response FROM idempotency WHERE (workspace_id, key) > (:workspace_id, :key)
ORDER BY workspace_id, key LIMIT :n;

-- name: idempotency.reencrypt
-- Replace a stored response, unless it has changed.
UPDATE idempotency SET response = :after WHERE workspace_id = :workspace_id AND key = :key AND response = :before;

-- name: signing_keys.get
-- Return the key that signs tokens, encrypted.
SELECT secret FROM signing_keys WHERE id = :id;

-- name: signing_keys.add
-- Store the key that signs tokens, unless another process has just done so.
INSERT INTO signing_keys (id, secret, created_at) VALUES :rows ON CONFLICT (id) DO NOTHING;

-- name: signing_keys.encrypted
-- Return a page of keys that sign tokens.
SELECT id, secret FROM signing_keys WHERE id > :after ORDER BY id LIMIT :n;

-- name: signing_keys.reencrypt
-- Replace the encrypted form of a key, unless it has changed.
UPDATE signing_keys SET secret = :after WHERE id = :id AND secret = :before;
