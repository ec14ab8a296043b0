-- What `waypost check` looks at.

-- name: checks.connections
SELECT id, workspace_id, name, connector, status FROM connections WHERE deleted_at IS NULL ORDER BY id;

-- name: checks.sending
-- Which processes send how many messages, and since when the one that waits longest.
SELECT node, count(*), min(updated_at) FROM messages WHERE status = 'sending' GROUP BY node ORDER BY node;

-- name: checks.unknown
SELECT count(*) FROM messages WHERE status = 'unknown';
