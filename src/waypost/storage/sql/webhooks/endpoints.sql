-- Webhook endpoints and their ledger.

-- name: endpoints.enabled
-- Return the enabled endpoints of workspaces with everything that matching and sending need.
SELECT id, workspace_id, url, event_types, filter, headers, rate_limit, concurrency, timeout_ms, format, secrets, ordered, connection_id,
    user_id, user_name, version
FROM endpoints WHERE workspace_id IN @list(ids bigint) AND status = 'enabled' AND deleted_at IS NULL ORDER BY id;

-- name: endpoints.add
-- Create an enabled endpoint.
INSERT INTO endpoints (id, workspace_id, url, description, event_types, filter, headers, rate_limit, concurrency,
    timeout_ms, format, signature, owner_email, secrets, status, disabled_reason, disabled_at, last_error, last_error_at,
    ordered, connection_id, user_id, user_name, version, created_at, updated_at, deleted_at)
VALUES (:id, :workspace_id, :url, :description, :event_types, :filter, :headers, :rate_limit, :concurrency, :timeout_ms,
    :format, :signature, :owner_email, :secrets, 'enabled', NULL, NULL, NULL, NULL, :ordered, :connection_id,
    :user_id, :user_name, 1, :now, :now, NULL);

-- name: endpoints.change
-- Change the settings of an endpoint.
UPDATE endpoints SET url = :url, description = :description, event_types = :event_types, filter = :filter,
    headers = :headers, rate_limit = :rate_limit, concurrency = :concurrency, timeout_ms = :timeout_ms,
    format = :format, owner_email = :owner_email, connection_id = :connection_id, user_id = :user_id,
    user_name = :user_name, failing_since = NULL, version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: endpoints.get
-- Return an endpoint.
SELECT * FROM endpoints WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: endpoints.list
-- Return a page of endpoints, newest first.
SELECT * FROM endpoints WHERE workspace_id = :workspace_id AND id < :before AND deleted_at IS NULL ORDER BY id DESC LIMIT :n;

-- name: endpoints.count
-- Count the endpoints of a workspace.
SELECT count(*) FROM endpoints WHERE workspace_id = :workspace_id AND deleted_at IS NULL;

-- name: endpoints.by_ids
-- Return endpoints by id, deleted ones included.
SELECT * FROM endpoints WHERE id IN @list(ids bigint);

-- name: endpoints.set_secrets
-- Change the signing secrets of an endpoint.
UPDATE endpoints SET secrets = :secrets, version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: endpoints.enable
-- Enable an endpoint.
UPDATE endpoints SET status = 'enabled', disabled_reason = NULL, disabled_at = NULL, failing_since = NULL,
    version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND status = 'disabled' AND deleted_at IS NULL;

-- name: endpoints.disable
-- Disable an enabled endpoint; the number of changed rows shows whether its owner gets a notice.
UPDATE endpoints SET status = 'disabled', disabled_reason = :reason, disabled_at = :now, version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND status = 'enabled' AND deleted_at IS NULL;

-- name: endpoints.failed (sqlite)
-- Record the last errors of endpoints: [id, error, time]. Returns since when each fails.
UPDATE endpoints SET last_error = r.value ->> 1, last_error_at = r.value ->> 2,
    failing_since = coalesce(failing_since, r.value ->> 2)
FROM json_each(:rows) r WHERE endpoints.id = r.value ->> 0 RETURNING endpoints.id, endpoints.failing_since;

-- name: endpoints.failed (postgres)
-- The values are numbered as in SQLite's version.
WITH noted AS MATERIALIZED (
    SELECT (r ->> 0)::bigint AS id, r ->> 1 AS error, (r ->> 2)::bigint AS at FROM json_array_elements(:rows::json) r
)
UPDATE endpoints e SET last_error = noted.error, last_error_at = noted.at,
    failing_since = coalesce(e.failing_since, noted.at)
FROM noted WHERE e.id = noted.id RETURNING e.id, e.failing_since;

-- name: endpoints.note_errors (sqlite)
-- Record the last errors of endpoints that work: [id, error, time].
UPDATE endpoints SET last_error = r.value ->> 1, last_error_at = r.value ->> 2
FROM json_each(:rows) r WHERE endpoints.id = r.value ->> 0;

-- name: endpoints.note_errors (postgres)
-- The values are numbered as in SQLite's version.
UPDATE endpoints e SET last_error = r ->> 1, last_error_at = (r ->> 2)::bigint
FROM json_array_elements(:rows::json) r WHERE e.id = (r ->> 0)::bigint;

-- name: endpoints.recovered
-- Record that endpoints succeeded.
UPDATE endpoints SET failing_since = NULL WHERE id IN @list(ids bigint) AND failing_since IS NOT NULL;

-- name: endpoints.delete
-- Delete an endpoint: keep its row for its deliveries.
UPDATE endpoints SET deleted_at = :now, status = 'disabled', version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: endpoints.deleted_with_pending
-- Return deleted endpoints that still have pending deliveries, which a job marks as dead.
SELECT e.id, e.workspace_id FROM endpoints e WHERE e.deleted_at IS NOT NULL AND EXISTS (
    SELECT 1 FROM deliveries d WHERE d.endpoint_id = e.id AND d.state = 'pending'
) LIMIT :n;

-- name: endpoints.all
-- Return all endpoints, deleted ones included.
SELECT id, workspace_id FROM endpoints ORDER BY id;

-- name: endpoints.due
-- Return enabled endpoints, and when the next delivery of each is due that no process holds.
SELECT e.id, e.workspace_id, (
    SELECT d.due_at FROM deliveries d WHERE d.endpoint_id = e.id AND d.state = 'pending' AND d.node IS NULL
    ORDER BY d.due_at LIMIT 1
) FROM endpoints e
WHERE e.status = 'enabled' AND e.deleted_at IS NULL AND EXISTS (
    SELECT 1 FROM endpoint_counts c WHERE c.endpoint_id = e.id AND c.pending <> 0
);

-- name: counts.add
-- Add to the ledger.
INSERT INTO endpoint_counts (endpoint_id, node, workspace_id, accepted, delivered, pending, dead) VALUES :rows
ON CONFLICT (endpoint_id, node) DO UPDATE SET
    accepted = endpoint_counts.accepted + excluded.accepted, delivered = endpoint_counts.delivered + excluded.delivered,
    pending = endpoint_counts.pending + excluded.pending, dead = endpoint_counts.dead + excluded.dead;

-- name: counts.of_endpoints
-- Return the ledger of endpoints. Sums are cast because PostgreSQL makes them numeric.
SELECT endpoint_id, CAST(sum(accepted) AS bigint), CAST(sum(delivered) AS bigint), CAST(sum(pending) AS bigint),
    CAST(sum(dead) AS bigint)
FROM endpoint_counts WHERE workspace_id = :workspace_id AND endpoint_id IN @list(ids bigint) GROUP BY endpoint_id;

-- name: counts.by_endpoint
-- Return the ledger of all endpoints.
SELECT workspace_id, endpoint_id, CAST(sum(accepted) AS bigint), CAST(sum(delivered) AS bigint),
    CAST(sum(pending) AS bigint), CAST(sum(dead) AS bigint)
FROM endpoint_counts GROUP BY workspace_id, endpoint_id ORDER BY workspace_id, endpoint_id;

-- name: counts.of_all
-- Return the totals of the ledger.
SELECT CAST(coalesce(sum(accepted), 0) AS bigint), CAST(coalesce(sum(delivered), 0) AS bigint),
    CAST(coalesce(sum(pending), 0) AS bigint), CAST(coalesce(sum(dead), 0) AS bigint)
FROM endpoint_counts;

-- name: counts.of_workspace_by_endpoint
-- Return the ledger of a workspace's endpoints.
SELECT endpoint_id, CAST(sum(accepted) AS bigint), CAST(sum(delivered) AS bigint), CAST(sum(pending) AS bigint),
    CAST(sum(dead) AS bigint)
FROM endpoint_counts WHERE workspace_id = :workspace_id GROUP BY endpoint_id ORDER BY endpoint_id;
