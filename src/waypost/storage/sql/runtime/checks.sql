-- What `waypost check` looks at.

-- name: checks.connections
SELECT id, workspace_id, name, connector, status FROM connections WHERE deleted_at IS NULL ORDER BY id;

-- name: checks.sending
-- Which processes send how many messages, and since when the one that waits longest.
SELECT node, count(*), min(updated_at) FROM messages WHERE status = 'sending' GROUP BY node ORDER BY node;

-- name: checks.unknown
SELECT count(*) FROM messages WHERE status = 'unknown';

-- name: checks.overdue
-- What enabled endpoints were owed long ago, and which process holds it.
SELECT d.endpoint_id, d.node, count(*), min(d.due_at) FROM endpoints e
JOIN deliveries d ON d.endpoint_id = e.id AND d.state = 'pending' AND d.due_at < :before
WHERE e.status = 'enabled' AND e.deleted_at IS NULL GROUP BY d.endpoint_id, d.node ORDER BY d.endpoint_id, d.node;

-- name: secrets.any
-- Whether anything is stored that is encrypted: without its key it is lost.
SELECT EXISTS (SELECT 1 FROM endpoints) OR EXISTS (SELECT 1 FROM idempotency)
    OR EXISTS (SELECT 1 FROM connections WHERE deleted_at IS NULL);
