-- Connections to providers. Deleted ones keep their row, for the messages that name it, and none of their secrets.

-- name: connections.of_workspaces
-- Return the connections of workspaces with everything that sending needs.
SELECT * FROM connections WHERE workspace_id IN @list(ids bigint) AND deleted_at IS NULL ORDER BY id;

-- name: connections.workspace
-- Return the workspace of a connection.
SELECT workspace_id FROM connections WHERE id = :id AND deleted_at IS NULL;

-- name: connections.by_key
-- Return the connection of a receipts key, by its digest.
SELECT workspace_id, id FROM connections WHERE receipts_key_hash = :hash AND deleted_at IS NULL;

-- name: connections.add
-- Create an enabled connection.
INSERT INTO connections (id, workspace_id, name, connector, channel, config, secrets, receipts_key_hash, position,
    per_second, concurrency, validity_s, status, status_reason, status_at, last_error, last_error_at, checked_at,
    check_report, data_center, version, created_at, updated_at, deleted_at)
VALUES (:id, :workspace_id, :name, :connector, :channel, :config, :secrets, :receipts_key_hash, :position,
    :per_second, :concurrency, :validity_s, 'enabled', NULL, NULL, NULL, NULL, NULL,
    NULL, :data_center, 1, :now, :now, NULL);

-- name: connections.change
-- Change the settings of a connection.
UPDATE connections SET name = :name, config = :config, secrets = :secrets, position = :position,
    per_second = :per_second, concurrency = :concurrency, validity_s = :validity_s, data_center = :data_center,
    version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: connections.get
-- Return a connection.
SELECT * FROM connections WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: connections.list
-- Return a page of connections, newest first.
SELECT * FROM connections WHERE workspace_id = :workspace_id AND id < :before AND deleted_at IS NULL
ORDER BY id DESC LIMIT :n;

-- name: connections.names
-- Return the names of a workspace's connections; there are at most two hundred.
SELECT id, name FROM connections WHERE workspace_id = :workspace_id AND deleted_at IS NULL;

-- name: connections.order
-- Return the connections of a channel in the order in which they are tried.
SELECT id, position FROM connections WHERE workspace_id = :workspace_id AND channel = :channel AND deleted_at IS NULL
ORDER BY position, id;

-- name: connections.place
-- Change the position of a connection.
UPDATE connections SET position = :position, version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: connections.move
-- Change the status of a connection from some statuses, and at one version if given: a result of an older version does not apply.
UPDATE connections SET status = :status, status_reason = :reason, status_at = :now,
    last_error = coalesce(CAST(:error AS text), last_error),
    last_error_at = CASE WHEN CAST(:error AS text) IS NULL THEN last_error_at ELSE :now END,
    version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL AND status IN @list(sources text)
    AND (CAST(:version AS bigint) IS NULL OR version = CAST(:version AS bigint));

-- name: connections.move_several
-- Change the status of several connections at any version, after a change of their connector's definition.
UPDATE connections SET status = :status, status_reason = :reason, status_at = :now,
    last_error = coalesce(CAST(:error AS text), last_error),
    last_error_at = CASE WHEN CAST(:error AS text) IS NULL THEN last_error_at ELSE :now END,
    version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id IN @list(ids bigint) AND deleted_at IS NULL
    AND status IN @list(sources text);

-- name: connections.of_connector
-- Return the connections of a connector; a workspace has at most two hundred.
SELECT * FROM connections WHERE workspace_id = :workspace_id AND connector = :name AND deleted_at IS NULL ORDER BY id;

-- name: connections.set_check
-- Store the report of a set-up check. Sending does not depend on it, so the version stays.
UPDATE connections SET check_report = :report, checked_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: connections.set_key
-- Change the receipts key of a connection.
UPDATE connections SET receipts_key_hash = :hash, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: connections.delete
-- Delete a connection: keep its row without secrets.
UPDATE connections SET deleted_at = :now, status = 'disabled', status_reason = 'deleted', status_at = :now, secrets = '',
    receipts_key_hash = NULL, check_report = NULL, version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;
