-- Queries of `waypost check`.

-- name: checks.connections
-- Return all connections.
SELECT id, workspace_id, name, connector, status FROM connections WHERE deleted_at IS NULL ORDER BY id;

-- name: checks.sending
-- Count the messages in sending by node, with the time of the oldest, and those that are in it since before a time.
SELECT node, count(*), min(updated_at), count(CASE WHEN status_at < :before THEN 1 END) FROM messages
WHERE status = 'sending' GROUP BY node ORDER BY node;

-- name: checks.unknown
-- Count the messages with the status unknown.
SELECT count(*) FROM messages WHERE status = 'unknown';

-- name: checks.overdue
-- Count deliveries of enabled endpoints that were due long ago, by the node that holds them.
SELECT d.endpoint_id, d.node, count(*), min(d.due_at) FROM endpoints e
JOIN deliveries d ON d.endpoint_id = e.id AND d.state = 'pending' AND d.due_at < :before
WHERE e.status = 'enabled' AND e.deleted_at IS NULL GROUP BY d.endpoint_id, d.node ORDER BY d.endpoint_id, d.node;

-- name: secrets.any
-- Return whether anything encrypted is stored: it is lost without its key.
SELECT EXISTS (SELECT 1 FROM endpoints) OR EXISTS (SELECT 1 FROM idempotency)
    OR EXISTS (SELECT 1 FROM connections WHERE deleted_at IS NULL);
