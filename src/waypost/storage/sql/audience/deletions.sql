-- Deletions of people. A part of the program that keeps rows about people adds its statement here, and the name of it to
-- engine/messaging/deletions.py.

-- name: deletions.add
-- Begin the deletion of profiles.
INSERT INTO deletions (profile_id, workspace_id, stage, cursor_id, passes, messages, unfinished, due_at, created_at) VALUES :rows
ON CONFLICT (profile_id) DO NOTHING;

-- name: deletions.profiles
-- Return a profile and all profiles merged into it, before they are deleted.
SELECT id FROM profiles WHERE workspace_id = :workspace_id AND (id = :id OR merged_into = :id) ORDER BY id;

-- name: deletions.lock (sqlite)
-- Return profiles that are going to be deleted; SQLite has one writer.
SELECT id FROM profiles WHERE id IN @list(ids bigint) ORDER BY id;

-- name: deletions.lock (postgres)
-- Lock them in the order of their ids, so that two transactions cannot deadlock.
SELECT id FROM profiles WHERE id IN @list(ids bigint) ORDER BY id FOR UPDATE;

-- name: deletions.addresses
-- Return the addresses of profiles.
SELECT kind, value FROM identities WHERE profile_id IN @list(ids bigint) AND kind IN ('email', 'phone') ORDER BY kind, value;

-- name: deletions.members
-- Return how many memberships of profiles the lists count, by state.
SELECT list_id, state, count(*) FROM list_members WHERE profile_id IN @list(ids bigint) GROUP BY list_id, state;

-- name: deletions.tags
-- Return how many tags of profiles are counted.
SELECT workspace_id, tag, count(*) FROM profile_tags WHERE profile_id IN @list(ids bigint) GROUP BY workspace_id, tag;

-- name: deletions.delete_identities
-- Delete the identifiers of profiles.
DELETE FROM identities WHERE profile_id IN @list(ids bigint);

-- name: deletions.delete_tags
-- Delete the tags of profiles.
DELETE FROM profile_tags WHERE profile_id IN @list(ids bigint);

-- name: deletions.delete_members
-- Delete the memberships of profiles.
DELETE FROM list_members WHERE profile_id IN @list(ids bigint);

-- name: deletions.delete_confirmations
-- Delete the confirmations of profiles.
DELETE FROM list_confirmations WHERE profile_id IN @list(ids bigint);

-- name: deletions.delete_segment_members
-- Delete the memberships of profiles in segments.
DELETE FROM segment_members WHERE profile_id IN @list(ids bigint);

-- name: deletions.delete_segment_rechecks
-- Delete when profiles are to be evaluated again.
DELETE FROM segment_rechecks WHERE profile_id IN @list(ids bigint);

-- name: deletions.delete_trait_values
-- Delete the values of profiles in the indexes of their workspaces; the profiles are still there.
DELETE FROM trait_values WHERE profile_id IN @list(ids bigint) AND index_id IN (
    SELECT t.id FROM profiles p JOIN trait_indexes t ON t.workspace_id = p.workspace_id WHERE p.id IN @list(ids bigint)
);

-- name: deletions.delete_sends
-- Delete what profiles were sent lately.
DELETE FROM recent_sends WHERE workspace_id = :workspace_id AND person IN @list(people text);

-- name: deletions.delete_profiles
-- Delete profiles.
DELETE FROM profiles WHERE id IN @list(ids bigint);

-- name: deletions.delete_subscriptions (sqlite)
-- Delete what the owners of addresses said: [workspace, channel, address]. That they want no messages stays.
DELETE FROM subscriptions WHERE state = 'subscribed' AND (workspace_id, channel, address) IN (
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:keys)
);

-- name: deletions.delete_subscriptions (postgres)
-- Delete what the owners of addresses said. That they want no messages stays.
DELETE FROM subscriptions s USING json_array_elements(:keys::json) k
WHERE s.workspace_id = (k ->> 0)::bigint AND s.channel = k ->> 1 AND s.address = k ->> 2 AND s.state = 'subscribed';

-- name: deletions.strip_subscriptions (sqlite)
-- Remove what proves that an owner wants no messages, such as an IP address.
UPDATE subscriptions SET proof = '{}' WHERE (workspace_id, channel, address) IN (
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:keys)
);

-- name: deletions.strip_subscriptions (postgres)
-- Remove what proves that an owner wants no messages, such as an IP address.
UPDATE subscriptions s SET proof = '{}' FROM json_array_elements(:keys::json) k
WHERE s.workspace_id = (k ->> 0)::bigint AND s.channel = k ->> 1 AND s.address = k ->> 2;

-- name: deletions.delete_history (sqlite)
-- Delete the history of the subscriptions of addresses.
DELETE FROM subscription_history WHERE (workspace_id, channel, address) IN (
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:keys)
);

-- name: deletions.delete_history (postgres)
-- Delete the history of the subscriptions of addresses.
DELETE FROM subscription_history s USING json_array_elements(:keys::json) k
WHERE s.workspace_id = (k ->> 0)::bigint AND s.channel = k ->> 1 AND s.address = k ->> 2;

-- name: deletions.due
-- Return the deletions that are due.
SELECT profile_id FROM deletions WHERE due_at <= :now ORDER BY due_at, profile_id LIMIT :n;

-- name: deletions.load (sqlite)
-- Return a deletion that is due.
SELECT profile_id, workspace_id, stage, cursor_id, passes, messages, unfinished, created_at FROM deletions
WHERE profile_id = :profile_id AND due_at <= :now;

-- name: deletions.load (postgres)
-- Lock it: another process skips it.
SELECT profile_id, workspace_id, stage, cursor_id, passes, messages, unfinished, created_at FROM deletions
WHERE profile_id = :profile_id AND due_at <= :now FOR UPDATE SKIP LOCKED;

-- name: deletions.advance
-- Record how far a deletion is.
UPDATE deletions SET stage = :stage, cursor_id = :cursor_id, passes = :passes, messages = :messages, unfinished = :unfinished,
    due_at = :due_at, ended_at = :ended_at
WHERE profile_id = :profile_id;

-- name: deletions.events (sqlite)
-- Return events of a profile before an id, newest first. The few that the late index does not contain yet are scanned.
SELECT id, type, data FROM events WHERE id IN (
    SELECT event_id FROM (
        SELECT event_id FROM (
            SELECT event_id FROM profile_events WHERE profile_id = :profile_id AND event_id < :before
            ORDER BY event_id DESC LIMIT :n
        )
        UNION
        SELECT id FROM events WHERE id > (SELECT upto FROM late_index) AND id < :before AND profile_id = :profile_id
    ) ORDER BY event_id DESC LIMIT :n
) ORDER BY id DESC;

-- name: deletions.events (postgres)
-- Return events of a profile before an id, newest first.
SELECT id, type, data FROM events WHERE profile_id = :profile_id AND id < :before ORDER BY id DESC LIMIT :n;

-- name: deletions.strip_events
-- Make events anonymous; their types and times stay.
UPDATE events SET profile_id = NULL, message_id = 'deleted', data = '{}' WHERE id IN @list(ids bigint);

-- name: deletions.forget_events (sqlite)
-- Remove events of a profile from the late index.
DELETE FROM profile_events WHERE profile_id = :profile_id AND event_id IN @list(ids bigint);

-- name: deletions.forget_events (postgres)
-- The index of PostgreSQL follows the events.
SELECT 1 WHERE :profile_id::bigint IS NULL AND :ids::bigint[] IS NULL;

-- name: deletions.forget_times (sqlite)
-- Remove events from the late index by time.
DELETE FROM type_times WHERE (workspace_id, type, occurred_at, event_id) IN (
    SELECT workspace_id, type, occurred_at, id FROM events WHERE id IN @list(ids bigint)
);

-- name: deletions.forget_times (postgres)
-- The index of PostgreSQL follows the events.
SELECT 1 WHERE :ids::bigint[] IS NULL;

-- name: deletions.strip_messages
-- Make messages anonymous; their statuses and counts stay.
UPDATE messages SET profile_id = NULL, address = '', metadata = '{}', provider_message_id = NULL,
    history = '{"status":"' || status || '","at":' || status_at || '}'
WHERE id IN @list(ids bigint);

-- name: deletions.strip_contents
-- Remove the contents of messages.
UPDATE message_contents SET content = '{}' WHERE message_id IN @list(ids bigint);

-- name: deletions.strip_texts
-- Remove what a client of the text-message API sent with texts.
UPDATE texts SET callback_data = '{}' WHERE message_id IN @list(ids bigint);

-- name: deletions.recipients
-- Return rows of a profile in the ledgers of campaigns.
SELECT occurrence_id, status, message_id FROM recipients WHERE profile_id = :profile_id ORDER BY occurrence_id LIMIT :n;

-- name: deletions.strip_recipients (sqlite)
-- Take people from rows of ledgers, which stay for the counts.
WITH v (occurrence_id, profile_id, stand_in) AS (VALUES :rows)
UPDATE recipients SET profile_id = v.stand_in
FROM v WHERE recipients.occurrence_id = v.occurrence_id AND recipients.profile_id = v.profile_id;

-- name: deletions.strip_recipients (postgres)
-- One look-up by the primary key per row.
UPDATE recipients t SET profile_id = (r ->> 2)::bigint
FROM json_array_elements(:rows::json) r WHERE t.occurrence_id = (r ->> 0)::bigint AND t.profile_id = (r ->> 1)::bigint;

-- name: deletions.delete_clicks (sqlite)
-- Delete which links people clicked on; the counts stay.
DELETE FROM campaign_clicks WHERE (occurrence_id, profile_id) IN (VALUES :rows);

-- name: deletions.delete_clicks (postgres)
-- One look-up by the primary key per row.
DELETE FROM campaign_clicks c USING json_array_elements(:rows::json) r
WHERE c.occurrence_id = (r ->> 0)::bigint AND c.profile_id = (r ->> 1)::bigint;

-- name: deletions.link_bound
-- Return up to which link the next step searches, and how many these are.
SELECT max(id), count(*) FROM (SELECT id FROM links WHERE id > :after ORDER BY id LIMIT :n) l;

-- name: deletions.strip_links
-- Take the person from links; they still lead to their pages.
UPDATE links SET profile_id = NULL WHERE id > :after AND id <= :bound AND profile_id = :profile_id;
