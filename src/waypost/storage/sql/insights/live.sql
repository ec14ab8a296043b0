-- What open pages are told.

-- name: live.state
-- Return numbers that differ when something was recorded, delivered, or changed by somebody in a workspace.
SELECT
    (SELECT max(id) FROM events WHERE workspace_id = :workspace_id),
    (SELECT CAST(sum(accepted + 3 * delivered + 5 * dead) AS bigint) FROM endpoint_counts WHERE workspace_id = :workspace_id),
    (SELECT max(id) FROM audit_log WHERE workspace_id = :workspace_id);
