-- Short links, the messages of their clicks, counts, and tracking settings.

-- name: links.add
-- Store new links.
INSERT INTO links (id, workspace_id, message_id, profile_id, url, created_at, expires_at) VALUES :rows;

-- name: links.taken
-- Return which of these ids links have.
SELECT id FROM links WHERE id IN @list(ids bigint);

-- name: links.load
-- Return links by their ids.
SELECT id, workspace_id, message_id, profile_id, url, expires_at FROM links WHERE id IN @list(ids bigint);

-- name: links.expired
-- Return links that expired before a time.
SELECT id FROM links WHERE expires_at < :before ORDER BY expires_at, id LIMIT :n;

-- name: links.delete
-- Delete links.
DELETE FROM links WHERE id IN @list(ids bigint);

-- name: clicks.messages
-- Return the messages of clicks. Nothing is locked: clicks change no message.
SELECT * FROM messages WHERE id IN @list(ids bigint);

-- name: click_counts.add
-- Add to the hourly counts of clicks.
INSERT INTO click_counts (message_id, hour, node, workspace_id, clicks, machine_clicks) VALUES :rows
ON CONFLICT (message_id, hour, node) DO UPDATE SET clicks = click_counts.clicks + excluded.clicks,
    machine_clicks = click_counts.machine_clicks + excluded.machine_clicks;

-- name: click_counts.of_message
-- Return how many clicks the links of a message had, and how many of machines.
SELECT CAST(coalesce(sum(clicks), 0) AS bigint), CAST(coalesce(sum(machine_clicks), 0) AS bigint) FROM click_counts
WHERE message_id = :message_id;

-- name: click_counts.oldest
-- Return messages with counts of hours past their retention.
SELECT message_id FROM click_counts WHERE hour < :before ORDER BY hour, message_id LIMIT :n;

-- name: click_counts.delete
-- Delete the counts of messages in hours past their retention.
DELETE FROM click_counts WHERE message_id IN @list(ids bigint) AND hour < :before;

-- name: tracking_settings.of_workspaces
-- Return the tracking settings of workspaces.
SELECT workspace_id, base_url, data_center, link_days, utm, mail FROM tracking_settings WHERE workspace_id IN @list(ids bigint);

-- name: tracking_settings.set
-- Store the tracking settings of a workspace.
INSERT INTO tracking_settings (workspace_id, base_url, data_center, link_days, utm, mail, updated_at)
VALUES (:workspace_id, :base_url, :data_center, :link_days, :utm, :mail, :now)
ON CONFLICT (workspace_id) DO UPDATE SET base_url = excluded.base_url, data_center = excluded.data_center,
    link_days = excluded.link_days, utm = excluded.utm, mail = excluded.mail, updated_at = excluded.updated_at;
