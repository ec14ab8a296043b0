-- Deletions of workspaces. A part of the program that keeps rows of its own adds its statements here, and the names of them to
-- engine/workspaces/deletions.py; a test finds every table that is forgotten.

-- name: workspace_deletions.close
-- Mark a workspace as deleted: nothing of it is found any more.
UPDATE workspaces SET deleted_at = :now WHERE id = :workspace_id AND deleted_at IS NULL;

-- name: workspace_deletions.closed
-- Return the workspaces that are deleted.
SELECT id FROM workspaces WHERE deleted_at IS NOT NULL;

-- name: workspace_deletions.close_endpoints
-- Delete the endpoints: a job ends their deliveries.
UPDATE endpoints SET deleted_at = :now, status = 'disabled', version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND deleted_at IS NULL;

-- name: workspace_deletions.close_connections
-- Delete the connections, with their secrets and keys.
UPDATE connections SET deleted_at = :now, status = 'disabled', status_reason = 'deleted', status_at = :now, secrets = '',
    receipts_key_hash = NULL, check_report = NULL, version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND deleted_at IS NULL;

-- name: workspace_deletions.close_text_clients
-- Delete the text clients.
DELETE FROM text_clients WHERE workspace_id = :workspace_id;

-- name: workspace_deletions.close_keys
-- Delete the API keys.
DELETE FROM keys WHERE workspace_id = :workspace_id;

-- name: workspace_deletions.close_invitations
-- Delete the invitations.
DELETE FROM account_tokens WHERE workspace_id = :workspace_id;

-- name: workspace_deletions.close_campaigns
-- Cancel the campaigns that run or will run.
UPDATE campaigns SET state = 'cancelled', next_at = NULL, version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND state IN ('scheduled', 'live', 'paused');

-- name: workspace_deletions.close_imports
-- Cancel the imports.
UPDATE imports SET state = 'cancelled', reason = 'workspace_deleted', node = NULL, updated_at = :now, ended_at = :now
WHERE workspace_id = :workspace_id AND state IN ('receiving', 'running');

-- name: workspace_deletions.close_replays
-- Cancel the replays.
UPDATE replays SET state = 'cancelled', updated_at = :now WHERE state = 'running' AND workspace_id = :workspace_id;

-- name: workspace_deletions.add
-- Begin the deletion of what is in a workspace.
INSERT INTO workspace_deletions (workspace_id, stage, place, cursor_id, again, deleted, due_at, created_at)
VALUES (:workspace_id, 'messages', 0, 0, 0, 0, :now, :now);

-- name: workspace_deletions.due
-- Return the workspaces whose deletion goes on.
SELECT workspace_id FROM workspace_deletions WHERE due_at <= :now ORDER BY workspace_id;

-- name: workspace_deletions.load (sqlite)
-- Return a deletion that is due; SQLite has one writer.
SELECT workspace_id, stage, place, cursor_id, again, deleted, created_at FROM workspace_deletions
WHERE workspace_id = :workspace_id AND due_at <= :now;

-- name: workspace_deletions.load (postgres)
-- Lock it: another process skips it.
SELECT workspace_id, stage, place, cursor_id, again, deleted, created_at FROM workspace_deletions
WHERE workspace_id = :workspace_id AND due_at <= :now FOR UPDATE SKIP LOCKED;

-- name: workspace_deletions.advance
-- Record how far a deletion is.
UPDATE workspace_deletions SET stage = :stage, place = :place, cursor_id = :cursor_id, again = :again, deleted = :deleted,
    due_at = :due_at, ended_at = :ended_at
WHERE workspace_id = :workspace_id;

-- name: workspace_deletions.messages
-- Return the next messages of a workspace, and which are not sent yet.
SELECT id, CASE WHEN status IN ('queued', 'held') THEN 1 ELSE 0 END FROM messages
WHERE workspace_id = :workspace_id AND id > :after ORDER BY id LIMIT :n;

-- name: workspace_deletions.sending
-- Return whether a message of a workspace is being sent.
SELECT 1 FROM messages WHERE status = 'sending' AND workspace_id = :workspace_id LIMIT 1;

-- name: workspace_deletions.pending
-- Return an endpoint of a workspace with pending deliveries.
SELECT e.id FROM endpoints e WHERE e.workspace_id = :workspace_id AND EXISTS (
    SELECT 1 FROM deliveries d WHERE d.endpoint_id = e.id AND d.state = 'pending'
) LIMIT 1;

-- name: workspace_deletions.count
-- Count what is in a workspace, each up to a limit.
SELECT (SELECT count(*) FROM (SELECT 1 FROM profiles WHERE workspace_id = :workspace_id AND merged_into IS NULL LIMIT :n) p) AS people,
    (SELECT count(*) FROM (SELECT 1 FROM events WHERE workspace_id = :workspace_id LIMIT :n) e) AS events,
    (SELECT count(*) FROM (SELECT 1 FROM messages WHERE workspace_id = :workspace_id LIMIT :n) m) AS messages,
    (SELECT count(*) FROM (
        SELECT 1 FROM connections c JOIN messages m ON m.connection_id = c.id AND m.status = 'queued'
        WHERE c.workspace_id = :workspace_id LIMIT :n
    ) q) AS queued_messages,
    (SELECT CAST(coalesce(sum(pending), 0) AS bigint) FROM endpoint_counts WHERE workspace_id = :workspace_id) AS pending_deliveries,
    (SELECT count(*) FROM campaigns WHERE workspace_id = :workspace_id AND state IN ('scheduled', 'live', 'paused')) AS running_campaigns,
    (SELECT count(*) FROM connections WHERE workspace_id = :workspace_id AND deleted_at IS NULL) AS connections,
    (SELECT count(*) FROM endpoints WHERE workspace_id = :workspace_id AND deleted_at IS NULL) AS webhooks,
    (SELECT count(*) FROM keys WHERE workspace_id = :workspace_id) AS keys,
    (SELECT count(*) FROM memberships WHERE workspace_id = :workspace_id) AS users;

-- name: purge.find_messages
-- Return messages of a workspace.
SELECT id FROM messages WHERE workspace_id = :workspace_id ORDER BY id LIMIT :n;

-- name: purge.message_contents
-- Delete contents of messages.
DELETE FROM message_contents WHERE message_id IN (SELECT message_id FROM message_contents WHERE message_id IN @list(ids bigint) LIMIT :n);

-- name: purge.texts
-- Delete what is kept of texts.
DELETE FROM texts WHERE message_id IN (SELECT message_id FROM texts WHERE message_id IN @list(ids bigint) LIMIT :n);

-- name: purge.click_counts
-- Delete counts of clicks.
DELETE FROM click_counts WHERE (message_id, hour, node) IN (SELECT message_id, hour, node FROM click_counts WHERE message_id IN @list(ids bigint) LIMIT :n);

-- name: purge.open_counts
-- Delete counts of opens.
DELETE FROM open_counts WHERE (message_id, hour, node) IN (SELECT message_id, hour, node FROM open_counts WHERE message_id IN @list(ids bigint) LIMIT :n);

-- name: purge.click_bursts
-- Delete the latest clicks on emails.
DELETE FROM click_bursts WHERE message_id IN (SELECT message_id FROM click_bursts WHERE message_id IN @list(ids bigint) LIMIT :n);

-- name: purge.text_link_checks
-- Delete checks of links in texts.
DELETE FROM text_link_checks WHERE message_id IN (SELECT message_id FROM text_link_checks WHERE message_id IN @list(ids bigint) LIMIT :n);

-- name: purge.messages
-- Delete messages.
DELETE FROM messages WHERE id IN @list(ids bigint);

-- name: purge.find_endpoints
-- Return endpoints of a workspace.
SELECT id FROM endpoints WHERE workspace_id = :workspace_id ORDER BY id LIMIT :n;

-- name: purge.attempts
-- Delete attempts.
DELETE FROM attempts WHERE (endpoint_id, id) IN (SELECT endpoint_id, id FROM attempts WHERE endpoint_id IN @list(ids bigint) LIMIT :n);

-- name: purge.deliveries
-- Delete deliveries.
DELETE FROM deliveries WHERE (endpoint_id, event_id) IN (SELECT endpoint_id, event_id FROM deliveries WHERE endpoint_id IN @list(ids bigint) LIMIT :n);

-- name: purge.replays
-- Delete replays.
DELETE FROM replays WHERE id IN (SELECT id FROM replays WHERE endpoint_id IN @list(ids bigint) LIMIT :n);

-- name: purge.endpoint_counts
-- Delete the ledger of endpoints.
DELETE FROM endpoint_counts WHERE (endpoint_id, node) IN (SELECT endpoint_id, node FROM endpoint_counts WHERE endpoint_id IN @list(ids bigint) LIMIT :n);

-- name: purge.endpoints
-- Delete endpoints.
DELETE FROM endpoints WHERE id IN @list(ids bigint);

-- name: purge.find_occurrences
-- Return occurrences of campaigns of a workspace.
SELECT o.id FROM campaigns c JOIN occurrences o ON o.campaign_id = c.id WHERE c.workspace_id = :workspace_id
ORDER BY o.id LIMIT :n;

-- name: purge.recipients
-- Delete recipients.
DELETE FROM recipients WHERE (occurrence_id, profile_id) IN (SELECT occurrence_id, profile_id FROM recipients WHERE occurrence_id IN @list(ids bigint) LIMIT :n);

-- name: purge.occurrence_parts
-- Delete parts of occurrences.
DELETE FROM occurrence_parts WHERE (occurrence_id, due_at, first_id) IN (SELECT occurrence_id, due_at, first_id FROM occurrence_parts WHERE occurrence_id IN @list(ids bigint) LIMIT :n);

-- name: purge.campaign_counts
-- Delete counts of campaigns.
DELETE FROM campaign_counts WHERE (occurrence_id, kind, key, code, variant, hour, node) IN (SELECT occurrence_id, kind, key, code, variant, hour, node FROM campaign_counts WHERE occurrence_id IN @list(ids bigint) LIMIT :n);

-- name: purge.campaign_clicks
-- Delete clicks of recipients.
DELETE FROM campaign_clicks WHERE (occurrence_id, profile_id, link) IN (SELECT occurrence_id, profile_id, link FROM campaign_clicks WHERE occurrence_id IN @list(ids bigint) LIMIT :n);

-- name: purge.occurrences
-- Delete occurrences of campaigns.
DELETE FROM occurrences WHERE id IN @list(ids bigint);

-- name: purge.find_lists
-- Return lists of a workspace.
SELECT id FROM lists WHERE workspace_id = :workspace_id ORDER BY id LIMIT :n;

-- name: purge.list_members
-- Delete members of lists.
DELETE FROM list_members WHERE (list_id, profile_id) IN (SELECT list_id, profile_id FROM list_members WHERE list_id IN @list(ids bigint) LIMIT :n);

-- name: purge.list_confirmations
-- Delete confirmations.
DELETE FROM list_confirmations WHERE (list_id, profile_id) IN (SELECT list_id, profile_id FROM list_confirmations WHERE list_id IN @list(ids bigint) LIMIT :n);

-- name: purge.list_counts
-- Delete counts of members.
DELETE FROM list_counts WHERE (list_id, state, node) IN (SELECT list_id, state, node FROM list_counts WHERE list_id IN @list(ids bigint) LIMIT :n);

-- name: purge.lists
-- Delete lists.
DELETE FROM lists WHERE id IN @list(ids bigint);

-- name: purge.find_segments
-- Return segments of a workspace.
SELECT id FROM segments WHERE workspace_id = :workspace_id ORDER BY id LIMIT :n;

-- name: purge.segment_members
-- Delete members of segments.
DELETE FROM segment_members WHERE (segment_id, profile_id) IN (SELECT segment_id, profile_id FROM segment_members WHERE segment_id IN @list(ids bigint) LIMIT :n);

-- name: purge.segment_rechecks
-- Delete rechecks of members.
DELETE FROM segment_rechecks WHERE (segment_id, profile_id) IN (SELECT segment_id, profile_id FROM segment_rechecks WHERE segment_id IN @list(ids bigint) LIMIT :n);

-- name: purge.segment_versions
-- Delete versions of segments.
DELETE FROM segment_versions WHERE (segment_id, version) IN (SELECT segment_id, version FROM segment_versions WHERE segment_id IN @list(ids bigint) LIMIT :n);

-- name: purge.segments
-- Delete segments.
DELETE FROM segments WHERE id IN @list(ids bigint);

-- name: purge.find_trait_indexes
-- Return indexes of traits of a workspace.
SELECT id FROM trait_indexes WHERE workspace_id = :workspace_id ORDER BY id LIMIT :n;

-- name: purge.trait_values
-- Delete values of indexed traits.
DELETE FROM trait_values WHERE (index_id, profile_id) IN (SELECT index_id, profile_id FROM trait_values WHERE index_id IN @list(ids bigint) LIMIT :n);

-- name: purge.trait_indexes
-- Delete indexes of traits.
DELETE FROM trait_indexes WHERE id IN @list(ids bigint);

-- name: purge.find_metrics
-- Return metrics of a workspace.
SELECT id FROM metrics WHERE workspace_id = :workspace_id ORDER BY id LIMIT :n;

-- name: purge.metric_events
-- Delete entries of feeds.
DELETE FROM metric_events WHERE (metric_id, status, event_id) IN (SELECT metric_id, status, event_id FROM metric_events WHERE metric_id IN @list(ids bigint) LIMIT :n);

-- name: purge.metric_statuses
-- Delete statuses of metrics.
DELETE FROM metric_statuses WHERE (metric_id, status) IN (SELECT metric_id, status FROM metric_statuses WHERE metric_id IN @list(ids bigint) LIMIT :n);

-- name: purge.metrics
-- Delete metrics.
DELETE FROM metrics WHERE id IN @list(ids bigint);

-- name: purge.find_imports
-- Return imports of a workspace.
SELECT id FROM imports WHERE workspace_id = :workspace_id ORDER BY id LIMIT :n;

-- name: purge.import_chunks
-- Delete parts of files.
DELETE FROM import_chunks WHERE (import_id, position) IN (SELECT import_id, position FROM import_chunks WHERE import_id IN @list(ids bigint) LIMIT :n);

-- name: purge.import_errors
-- Delete rejected rows.
DELETE FROM import_errors WHERE (import_id, row_number) IN (SELECT import_id, row_number FROM import_errors WHERE import_id IN @list(ids bigint) LIMIT :n);

-- name: purge.imports
-- Delete imports.
DELETE FROM imports WHERE id IN @list(ids bigint);

-- name: purge.find_templates
-- Return templates of a workspace.
SELECT id FROM templates WHERE workspace_id = :workspace_id ORDER BY id LIMIT :n;

-- name: purge.template_versions
-- Delete versions of templates.
DELETE FROM template_versions WHERE (template_id, version) IN (SELECT template_id, version FROM template_versions WHERE template_id IN @list(ids bigint) LIMIT :n);

-- name: purge.templates
-- Delete templates.
DELETE FROM templates WHERE id IN @list(ids bigint);

-- name: purge.find_connections
-- Return connections of a workspace.
SELECT id FROM connections WHERE workspace_id = :workspace_id ORDER BY id LIMIT :n;

-- name: purge.bounce_mailboxes
-- Delete mailboxes for bounces.
DELETE FROM bounce_mailboxes WHERE connection_id IN (SELECT connection_id FROM bounce_mailboxes WHERE connection_id IN @list(ids bigint) LIMIT :n);

-- name: purge.connections
-- Delete connections.
DELETE FROM connections WHERE id IN @list(ids bigint);

-- name: purge.campaigns
-- Delete campaigns of a workspace.
DELETE FROM campaigns WHERE id IN (SELECT id FROM campaigns WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.events
-- Delete events of a workspace.
DELETE FROM events WHERE id IN (SELECT id FROM events WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.event_types
-- Delete types of events of a workspace.
DELETE FROM event_types WHERE (workspace_id, type) IN (SELECT workspace_id, type FROM event_types WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.metric_counts
-- Delete counts of metrics of a workspace.
DELETE FROM metric_counts WHERE (workspace_id, ends_at, minutes, metric_id, status, node) IN (SELECT workspace_id, ends_at, minutes, metric_id, status, node FROM metric_counts WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.profile_tags
-- Delete tags of people of a workspace.
DELETE FROM profile_tags WHERE (workspace_id, tag, profile_id) IN (SELECT workspace_id, tag, profile_id FROM profile_tags WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.tag_counts
-- Delete counts of tags of a workspace.
DELETE FROM tag_counts WHERE (workspace_id, tag, node) IN (SELECT workspace_id, tag, node FROM tag_counts WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.identities
-- Delete identifiers of people of a workspace.
DELETE FROM identities WHERE (workspace_id, kind, value) IN (SELECT workspace_id, kind, value FROM identities WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.profiles
-- Delete people of a workspace.
DELETE FROM profiles WHERE id IN (SELECT id FROM profiles WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.subscriptions
-- Delete subscriptions of a workspace.
DELETE FROM subscriptions WHERE (workspace_id, channel, address) IN (SELECT workspace_id, channel, address FROM subscriptions WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.subscription_history
-- Delete the history of subscriptions of a workspace.
DELETE FROM subscription_history WHERE (workspace_id, channel, address, changed_at, change_key) IN (SELECT workspace_id, channel, address, changed_at, change_key FROM subscription_history WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.suppressions
-- Delete suppressions of a workspace.
DELETE FROM suppressions WHERE (workspace_id, channel, address) IN (SELECT workspace_id, channel, address FROM suppressions WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.recent_sends
-- Delete what frequency caps count of a workspace.
DELETE FROM recent_sends WHERE (workspace_id, person) IN (SELECT workspace_id, person FROM recent_sends WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.message_counts
-- Delete counts of messages of a workspace.
DELETE FROM message_counts WHERE (workspace_id, hour, connection_id, campaign, template_id, status, code, node) IN (SELECT workspace_id, hour, connection_id, campaign, template_id, status, code, node FROM message_counts WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.quarantine
-- Delete unreadable callbacks of a workspace.
DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.payload_formats
-- Delete formats of webhooks of a workspace.
DELETE FROM payload_formats WHERE id IN (SELECT id FROM payload_formats WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.connectors
-- Delete connectors of a workspace.
DELETE FROM connectors WHERE (workspace_id, name) IN (SELECT workspace_id, name FROM connectors WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.notices
-- Delete notices of a workspace.
DELETE FROM notices WHERE id IN (SELECT id FROM notices WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.idempotency
-- Delete stored responses of a workspace.
DELETE FROM idempotency WHERE (workspace_id, key) IN (SELECT workspace_id, key FROM idempotency WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.sending_rules
-- Delete sending rules of a workspace.
DELETE FROM sending_rules WHERE workspace_id IN (SELECT workspace_id FROM sending_rules WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.senders
-- Delete senders of a workspace.
DELETE FROM senders WHERE id IN (SELECT id FROM senders WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.tracking_settings
-- Delete tracking settings of a workspace.
DELETE FROM tracking_settings WHERE workspace_id IN (SELECT workspace_id FROM tracking_settings WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.text_clients
-- Delete text clients of a workspace.
DELETE FROM text_clients WHERE id IN (SELECT id FROM text_clients WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.keys
-- Delete API keys of a workspace.
DELETE FROM keys WHERE id IN (SELECT id FROM keys WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.account_tokens
-- Delete invitations of a workspace.
DELETE FROM account_tokens WHERE id IN (SELECT id FROM account_tokens WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.memberships
-- Delete roles of users of a workspace.
DELETE FROM memberships WHERE (user_id, workspace_id) IN (SELECT user_id, workspace_id FROM memberships WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.configurations
-- Delete versions of configurations of a workspace.
DELETE FROM configurations WHERE (workspace_id, area) IN (SELECT workspace_id, area FROM configurations WHERE workspace_id = :workspace_id LIMIT :n);

-- name: purge.bound_links
-- Return up to which row the next step searches, and how many these are.
SELECT max(id), count(*) FROM (SELECT id FROM links WHERE id > :after ORDER BY id LIMIT :n) t;

-- name: purge.links
-- Delete short links of a workspace among these rows.
DELETE FROM links WHERE id > :after AND id <= :bound AND workspace_id = :workspace_id;

-- name: purge.bound_tracked_urls
-- Return up to which row the next step searches, and how many these are.
SELECT max(id), count(*) FROM (SELECT id FROM tracked_urls WHERE id > :after ORDER BY id LIMIT :n) t;

-- name: purge.tracked_urls
-- Delete URLs of links in emails of a workspace among these rows.
DELETE FROM tracked_urls WHERE id > :after AND id <= :bound AND workspace_id = :workspace_id;

-- name: purge.bound_unmatched_receipts
-- Return up to which row the next step searches, and how many these are.
SELECT max(id), count(*) FROM (SELECT id FROM unmatched_receipts WHERE id > :after ORDER BY id LIMIT :n) t;

-- name: purge.unmatched_receipts
-- Delete receipts without a message of a workspace among these rows.
DELETE FROM unmatched_receipts WHERE id > :after AND id <= :bound AND workspace_id = :workspace_id;

-- name: purge.bound_buckets
-- Return up to which row the next step searches, and how many these are.
SELECT max(id), count(*) FROM (SELECT id FROM buckets WHERE id > :after ORDER BY id LIMIT :n) t;

-- name: purge.buckets
-- Delete token buckets of a workspace among these rows.
DELETE FROM buckets WHERE id > :after AND id <= :bound AND workspace_id = :workspace_id;

-- name: purge.bound_deletions
-- Return up to which row the next step searches, and how many these are.
SELECT max(profile_id), count(*) FROM (SELECT profile_id FROM deletions WHERE profile_id > :after ORDER BY profile_id LIMIT :n) t;

-- name: purge.deletions
-- Delete deletions of people of a workspace among these rows.
DELETE FROM deletions WHERE profile_id > :after AND profile_id <= :bound AND workspace_id = :workspace_id;

-- name: purge.bound_click_counts
-- Return up to which message the next step searches, and how many rows these are.
SELECT max(message_id), count(*) FROM (SELECT message_id FROM click_counts WHERE message_id > :after ORDER BY message_id LIMIT :n) t;

-- name: purge.left_click_counts
-- Delete the counts of a workspace that have outlived their message.
DELETE FROM click_counts WHERE message_id > :after AND message_id <= :bound AND workspace_id = :workspace_id;

-- name: purge.bound_open_counts
-- Return up to which message the next step searches, and how many rows these are.
SELECT max(message_id), count(*) FROM (SELECT message_id FROM open_counts WHERE message_id > :after ORDER BY message_id LIMIT :n) t;

-- name: purge.left_open_counts
-- Delete the counts of a workspace that have outlived their message.
DELETE FROM open_counts WHERE message_id > :after AND message_id <= :bound AND workspace_id = :workspace_id;
