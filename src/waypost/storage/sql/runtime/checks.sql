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

-- name: checks.recipients
-- Count the recipients of the occurrences that are open by status; the counts of campaigns must agree.
SELECT r.occurrence_id, r.status, count(*) FROM occurrences o JOIN recipients r ON r.occurrence_id = o.id
WHERE o.state IN ('preparing', 'sending') OR o.ended_at > :since GROUP BY r.occurrence_id, r.status;

-- name: checks.parts
-- Count the parts of live campaigns that were due long ago.
SELECT count(*), min(p.due_at) FROM occurrence_parts p JOIN occurrences o ON o.id = p.occurrence_id JOIN campaigns c ON c.id = o.campaign_id
WHERE p.due_at < :before AND c.state = 'live';

-- name: checks.segments
-- Count the tracked segments and those whose evaluation of everybody goes on; and since when the slowest stands still.
SELECT count(CASE WHEN tracked = 1 THEN 1 END), count(filled_to), min(CASE WHEN filled_to IS NOT NULL THEN advanced_at END)
FROM segments WHERE tracked = 1 OR filled_to IS NOT NULL;

-- name: checks.trait_indexes
-- Count the indexes of traits and those that are being filled or emptied; and since when the slowest stands still.
SELECT count(CASE WHEN state <> 'dropped' THEN 1 END), count(CASE WHEN state <> 'complete' THEN 1 END),
    min(CASE WHEN state <> 'complete' THEN advanced_at END)
FROM trait_indexes;

-- name: secrets.any
-- Return whether anything encrypted is stored: it is lost without its key.
SELECT EXISTS (SELECT 1 FROM endpoints) OR EXISTS (SELECT 1 FROM idempotency) OR EXISTS (SELECT 1 FROM signing_keys)
    OR EXISTS (SELECT 1 FROM connections WHERE deleted_at IS NULL)
    OR EXISTS (SELECT 1 FROM users WHERE totp_secret IS NOT NULL) OR EXISTS (SELECT 1 FROM single_sign_on);
