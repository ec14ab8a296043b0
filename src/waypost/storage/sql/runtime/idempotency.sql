-- Idempotency keys and their stored responses.

-- name: idempotency.get
-- Return the stored response of a key.
SELECT request_hash, status, response, created_at FROM idempotency WHERE workspace_id = :workspace_id AND key = :key;

-- name: idempotency.add
-- Store a response, or reserve the key of a request in progress (status 0).
INSERT INTO idempotency (workspace_id, key, request_hash, status, response, created_at)
VALUES (:workspace_id, :key, :request_hash, :status, :response, :now);

-- name: idempotency.finish
-- Store the response of a request that was in progress since then.
UPDATE idempotency SET status = :status, response = :response
WHERE workspace_id = :workspace_id AND key = :key AND status = 0 AND created_at = :since;

-- name: idempotency.release
-- Remove the key of a request that ended without a response.
DELETE FROM idempotency WHERE workspace_id = :workspace_id AND key = :key AND status = 0 AND created_at = :since;

-- name: idempotency.prune
-- Delete some of the keys from before a time.
DELETE FROM idempotency WHERE (workspace_id, key) IN (
    SELECT workspace_id, key FROM idempotency WHERE created_at < :before ORDER BY created_at LIMIT :n
);

-- name: idempotency.find
-- Return the stored responses for the keys of a batch.
SELECT workspace_id, key, request_hash, status, response FROM idempotency
WHERE workspace_id IN @list(workspaces bigint) AND key IN @list(keys text);

-- name: idempotency.keep
-- Store the responses of a batch.
INSERT INTO idempotency (workspace_id, key, request_hash, status, response, created_at) VALUES :rows;
