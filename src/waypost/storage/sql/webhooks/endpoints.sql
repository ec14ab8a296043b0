-- Webhook endpoints and their ledger.

-- name: endpoints.enabled
-- Everything that matching and sending needs, for some workspaces.
SELECT id, workspace_id, url, event_types, filter, headers, rate_limit, concurrency, timeout_ms, format, secrets, version
FROM endpoints WHERE workspace_id IN @list(ids bigint) AND status = 'enabled' AND deleted_at IS NULL ORDER BY id;

-- name: endpoints.add
INSERT INTO endpoints (id, workspace_id, url, description, event_types, filter, headers, rate_limit, concurrency,
    timeout_ms, format, signature, owner_email, secrets, status, disabled_reason, disabled_at, last_error, last_error_at,
    version, created_at, updated_at, deleted_at)
VALUES (:id, :workspace_id, :url, :description, :event_types, :filter, :headers, :rate_limit, :concurrency, :timeout_ms,
    :format, :signature, :owner_email, :secrets, 'enabled', NULL, NULL, NULL, NULL, 1, :now, :now, NULL);

-- name: endpoints.change
UPDATE endpoints SET url = :url, description = :description, event_types = :event_types, filter = :filter,
    headers = :headers, rate_limit = :rate_limit, concurrency = :concurrency, timeout_ms = :timeout_ms,
    format = :format, owner_email = :owner_email, failing_since = NULL, version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: endpoints.get
SELECT * FROM endpoints WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: endpoints.list
SELECT * FROM endpoints WHERE workspace_id = :workspace_id AND id < :before AND deleted_at IS NULL ORDER BY id DESC LIMIT :n;

-- name: endpoints.count
SELECT count(*) FROM endpoints WHERE workspace_id = :workspace_id AND deleted_at IS NULL;

-- name: endpoints.by_ids
SELECT * FROM endpoints WHERE id IN @list(ids bigint);

-- name: endpoints.set_secrets
UPDATE endpoints SET secrets = :secrets, version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: endpoints.enable
UPDATE endpoints SET status = 'enabled', disabled_reason = NULL, disabled_at = NULL, failing_since = NULL,
    version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND status = 'disabled' AND deleted_at IS NULL;

-- name: endpoints.disable
-- Only an enabled endpoint can be disabled, so the owner is told once.
UPDATE endpoints SET status = 'disabled', disabled_reason = :reason, disabled_at = :now, version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND status = 'enabled' AND deleted_at IS NULL;

-- name: endpoints.failed (sqlite)
-- The last errors of endpoints: [id, error, moment]. Gives back since when each fails.
UPDATE endpoints SET last_error = r.value ->> 1, last_error_at = r.value ->> 2,
    failing_since = coalesce(failing_since, r.value ->> 2)
FROM json_each(:rows) r WHERE endpoints.id = r.value ->> 0 RETURNING endpoints.id, endpoints.failing_since;

-- name: endpoints.failed (postgres)
WITH noted AS MATERIALIZED (
    SELECT (r ->> 0)::bigint AS id, r ->> 1 AS error, (r ->> 2)::bigint AS at FROM json_array_elements(:rows::json) r
)
UPDATE endpoints e SET last_error = noted.error, last_error_at = noted.at,
    failing_since = coalesce(e.failing_since, noted.at)
FROM noted WHERE e.id = noted.id RETURNING e.id, e.failing_since;

-- name: endpoints.recovered
-- Endpoints that took something.
UPDATE endpoints SET failing_since = NULL WHERE id IN @list(ids bigint) AND failing_since IS NOT NULL;

-- name: endpoints.delete
UPDATE endpoints SET deleted_at = :now, status = 'disabled', version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: endpoints.deleted_with_pending
-- Deleted endpoints that still owe something, for the clock to give up.
SELECT e.id, e.workspace_id FROM endpoints e WHERE e.deleted_at IS NOT NULL AND EXISTS (
    SELECT 1 FROM deliveries d WHERE d.endpoint_id = e.id AND d.state = 'pending'
) LIMIT :n;

-- name: endpoints.all
SELECT id, workspace_id FROM endpoints ORDER BY id;

-- name: endpoints.due
-- Enabled endpoints and when their next delivery that nobody holds falls due.
SELECT e.id, e.workspace_id, (
    SELECT d.due_at FROM deliveries d WHERE d.endpoint_id = e.id AND d.state = 'pending' AND d.node IS NULL
    ORDER BY d.due_at LIMIT 1
) FROM endpoints e
WHERE e.status = 'enabled' AND e.deleted_at IS NULL AND EXISTS (
    SELECT 1 FROM endpoint_counts c WHERE c.endpoint_id = e.id AND c.pending <> 0
);

-- name: counts.add
INSERT INTO endpoint_counts (endpoint_id, node, workspace_id, accepted, delivered, pending, dead) VALUES :rows
ON CONFLICT (endpoint_id, node) DO UPDATE SET
    accepted = endpoint_counts.accepted + excluded.accepted, delivered = endpoint_counts.delivered + excluded.delivered,
    pending = endpoint_counts.pending + excluded.pending, dead = endpoint_counts.dead + excluded.dead;

-- name: counts.of_endpoints
-- Sums are cast because PostgreSQL makes them numeric.
SELECT endpoint_id, CAST(sum(accepted) AS bigint), CAST(sum(delivered) AS bigint), CAST(sum(pending) AS bigint),
    CAST(sum(dead) AS bigint)
FROM endpoint_counts WHERE workspace_id = :workspace_id AND endpoint_id IN @list(ids bigint) GROUP BY endpoint_id;

-- name: counts.by_endpoint
SELECT workspace_id, endpoint_id, CAST(sum(accepted) AS bigint), CAST(sum(delivered) AS bigint),
    CAST(sum(pending) AS bigint), CAST(sum(dead) AS bigint)
FROM endpoint_counts GROUP BY workspace_id, endpoint_id ORDER BY workspace_id, endpoint_id;

-- name: counts.of_all
SELECT CAST(coalesce(sum(accepted), 0) AS bigint), CAST(coalesce(sum(delivered), 0) AS bigint),
    CAST(coalesce(sum(pending), 0) AS bigint), CAST(coalesce(sum(dead), 0) AS bigint)
FROM endpoint_counts;

-- name: counts.of_workspace_by_endpoint
SELECT endpoint_id, CAST(sum(accepted) AS bigint), CAST(sum(delivered) AS bigint), CAST(sum(pending) AS bigint),
    CAST(sum(dead) AS bigint)
FROM endpoint_counts WHERE workspace_id = :workspace_id GROUP BY endpoint_id ORDER BY endpoint_id;
