-- Connections to providers. Deleted ones keep their row, for the messages that name it, and none of their secrets.

-- name: connections.of_workspaces
-- Everything that sending needs, for some workspaces.
SELECT * FROM connections WHERE workspace_id IN @list(ids bigint) AND deleted_at IS NULL ORDER BY id;

-- name: connections.workspace
-- Whose connection it is.
SELECT workspace_id FROM connections WHERE id = :id AND deleted_at IS NULL;

-- name: connections.by_key
-- Which connection a key for receipts belongs to, by its digest.
SELECT workspace_id, id FROM connections WHERE receipts_key_hash = :hash AND deleted_at IS NULL;

-- name: connections.add
INSERT INTO connections (id, workspace_id, name, connector, channel, config, secrets, receipts_key_hash, position,
    per_second, concurrency, validity_s, status, status_reason, status_at, last_error, last_error_at, checked_at,
    check_report, data_center, version, created_at, updated_at, deleted_at)
VALUES (:id, :workspace_id, :name, :connector, :channel, :config, :secrets, :receipts_key_hash, :position,
    :per_second, :concurrency, :validity_s, 'enabled', NULL, NULL, NULL, NULL, NULL,
    NULL, :data_center, 1, :now, :now, NULL);

-- name: connections.change
UPDATE connections SET name = :name, config = :config, secrets = :secrets, position = :position,
    per_second = :per_second, concurrency = :concurrency, validity_s = :validity_s, data_center = :data_center,
    version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: connections.get
SELECT * FROM connections WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: connections.list
SELECT * FROM connections WHERE workspace_id = :workspace_id AND id < :before AND deleted_at IS NULL
ORDER BY id DESC LIMIT :n;

-- name: connections.names
-- A workspace has two hundred at most.
SELECT id, name FROM connections WHERE workspace_id = :workspace_id AND deleted_at IS NULL;

-- name: connections.order
-- The connections of a channel in the order in which they are tried.
SELECT id, position FROM connections WHERE workspace_id = :workspace_id AND channel = :channel AND deleted_at IS NULL
ORDER BY position, id;

-- name: connections.place
UPDATE connections SET position = :position, version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: connections.move
-- Only from some statuses, and at one version where one is given: what an older one came to says nothing of this one.
UPDATE connections SET status = :status, status_reason = :reason, status_at = :now,
    last_error = coalesce(CAST(:error AS text), last_error),
    last_error_at = CASE WHEN CAST(:error AS text) IS NULL THEN last_error_at ELSE :now END,
    version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL AND status IN @list(sources text)
    AND (CAST(:version AS bigint) IS NULL OR version = CAST(:version AS bigint));

-- name: connections.move_several
-- The same for several connections at once, whatever their version: their connector's definition changed.
UPDATE connections SET status = :status, status_reason = :reason, status_at = :now,
    last_error = coalesce(CAST(:error AS text), last_error),
    last_error_at = CASE WHEN CAST(:error AS text) IS NULL THEN last_error_at ELSE :now END,
    version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id IN @list(ids bigint) AND deleted_at IS NULL
    AND status IN @list(sources text);

-- name: connections.of_connector
-- The connections that are made with a connector; a workspace has two hundred at most.
SELECT * FROM connections WHERE workspace_id = :workspace_id AND connector = :name AND deleted_at IS NULL ORDER BY id;

-- name: connections.set_check
-- What the last set-up check found. It changes nothing that is sent with.
UPDATE connections SET check_report = :report, checked_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: connections.set_key
UPDATE connections SET receipts_key_hash = :hash, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: connections.delete
UPDATE connections SET deleted_at = :now, status = 'disabled', status_reason = 'deleted', status_at = :now, secrets = '',
    receipts_key_hash = NULL, check_report = NULL, version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: connections.encrypted
-- What is encrypted, a stretch at a time, to be encrypted anew.
SELECT id, secrets FROM connections WHERE id > :after AND deleted_at IS NULL ORDER BY id LIMIT :n;

-- name: connections.reencrypt
UPDATE connections SET secrets = :after WHERE id = :id AND secrets = :before;

-- name: endpoints.encrypted
SELECT id, headers, secrets FROM endpoints WHERE id > :after ORDER BY id LIMIT :n;

-- name: endpoints.reencrypt
UPDATE endpoints SET headers = :headers, secrets = :secrets
WHERE id = :id AND headers = :headers_before AND secrets = :secrets_before;

-- name: idempotency.encrypted
SELECT workspace_id, key, response FROM idempotency WHERE (workspace_id, key) > (:workspace_id, :key)
ORDER BY workspace_id, key LIMIT :n;

-- name: idempotency.reencrypt
UPDATE idempotency SET response = :after WHERE workspace_id = :workspace_id AND key = :key AND response = :before;
