-- Tracking of emails: the URLs of their links, counts of opens, and the latest clicks.

-- name: tracked_urls.add
-- Store URLs; of those that are known, only their validity can grow.
INSERT INTO tracked_urls (id, workspace_id, url, expires_at) VALUES :rows
ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at WHERE tracked_urls.expires_at < excluded.expires_at;

-- name: tracked_urls.load
-- Return URLs by their ids.
SELECT id, workspace_id, url FROM tracked_urls WHERE id IN @list(ids bigint);

-- name: tracked_urls.expired
-- Return URLs that no valid token has named since a time.
SELECT id FROM tracked_urls WHERE expires_at < :before ORDER BY expires_at, id LIMIT :n;

-- name: tracked_urls.delete
-- Delete URLs.
DELETE FROM tracked_urls WHERE id IN @list(ids bigint);

-- name: open_counts.add
-- Add to the hourly counts of opens.
INSERT INTO open_counts (message_id, hour, node, workspace_id, opens, machine_opens) VALUES :rows
ON CONFLICT (message_id, hour, node) DO UPDATE SET opens = open_counts.opens + excluded.opens,
    machine_opens = open_counts.machine_opens + excluded.machine_opens;

-- name: open_counts.of_message
-- Return how many opens a message had, and how many of machines.
SELECT CAST(coalesce(sum(opens), 0) AS bigint), CAST(coalesce(sum(machine_opens), 0) AS bigint) FROM open_counts
WHERE message_id = :message_id;

-- name: open_counts.oldest
-- Return messages with counts of hours past their retention.
SELECT message_id FROM open_counts WHERE hour < :before ORDER BY hour, message_id LIMIT :n;

-- name: open_counts.delete
-- Delete the counts of messages in hours past their retention.
DELETE FROM open_counts WHERE message_id IN @list(ids bigint) AND hour < :before;

-- name: click_bursts.load
-- Return the latest clicks on messages.
SELECT message_id, began_at, last_at, numbers, baited_at FROM click_bursts WHERE message_id IN @list(ids bigint);

-- name: click_bursts.set
-- Store the latest clicks on messages.
INSERT INTO click_bursts (message_id, began_at, last_at, numbers, baited_at) VALUES :rows
ON CONFLICT (message_id) DO UPDATE SET began_at = excluded.began_at, last_at = excluded.last_at,
    numbers = excluded.numbers, baited_at = excluded.baited_at;

-- name: click_bursts.expired
-- Return messages whose latest click was before a time.
SELECT message_id FROM click_bursts WHERE last_at < :before ORDER BY last_at LIMIT :n;

-- name: click_bursts.delete
-- Forget the latest clicks on messages.
DELETE FROM click_bursts WHERE message_id IN @list(ids bigint);

-- name: email_events.campaigns
-- Return the campaigns of occurrences, each with its list if it has one.
SELECT o.id, c.id, c.name, l.id, l.name FROM occurrences o JOIN campaigns c ON c.id = o.campaign_id
LEFT JOIN lists l ON l.id = o.list_id WHERE o.id IN @list(ids bigint);
