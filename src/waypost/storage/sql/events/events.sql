-- Events and event types.

-- name: events.known (sqlite)
-- Return which message ids of a batch are recorded already. One row of JSON: each row read releases the interpreter lock once.
-- The newest keys are in the writer's memory, older ones in a late index.
SELECT json_group_array(json_array(e.message_key, e.workspace_id, e.message_id))
FROM json_each(:keys) k CROSS JOIN events e ON e.id = coalesce(
    (SELECT t.event_id FROM tail_keys t WHERE t.message_key = k.value),
    (SELECT m.event_id FROM message_keys m WHERE m.message_key = k.value)
);

-- name: events.known (postgres)
-- Return which message ids of a batch are recorded already.
SELECT coalesce(json_agg(json_build_array(message_key, workspace_id, message_id)), '[]')::text
FROM events WHERE message_key IN @list(keys bigint);

-- name: events.insert
-- Record events.
INSERT INTO events (id, workspace_id, message_key, message_id, type, profile_id, occurred_at, data) VALUES :rows;

-- name: events.list (sqlite)
-- Return a page of a workspace's events, newest first.
SELECT id, message_id, type, profile_id, occurred_at, data FROM events
WHERE workspace_id = :workspace_id AND id < :before AND id >= :since ORDER BY id DESC LIMIT :n;

-- name: events.list (postgres)
-- By pairs: in the order of ids alone, PostgreSQL would search the rows of all workspaces for those of one.
SELECT id, message_id, type, profile_id, occurred_at, data FROM events
WHERE (workspace_id, id) < (:workspace_id, :before) AND (workspace_id, id) >= (:workspace_id, :since)
ORDER BY workspace_id DESC, id DESC LIMIT :n;

-- name: events.of_profile (sqlite)
-- Return a page of the events of a profile and of all profiles merged into it, newest first. The newest key of each is
-- read, and more keys only of the :n profiles with the newest ones, because a page contains events of no others. The few
-- events that the late index does not contain yet are scanned.
WITH members (id) AS MATERIALIZED (
    SELECT CAST(:profile_id AS INTEGER) UNION ALL SELECT id FROM profiles WHERE merged_into = :profile_id
), newest (id, event_id) AS MATERIALIZED (
    SELECT id, (SELECT max(event_id) FROM profile_events WHERE profile_id = m.id AND event_id < :before) AS newest
    FROM members m ORDER BY newest DESC LIMIT :n
)
SELECT id, message_id, type, profile_id, occurred_at, data FROM events WHERE id IN (
    SELECT event_id FROM (
        SELECT k.event_id FROM newest m CROSS JOIN profile_events k
        WHERE k.profile_id = m.id AND k.event_id <= m.event_id AND k.event_id >= coalesce((
            SELECT event_id FROM profile_events WHERE profile_id = m.id AND event_id < :before
            ORDER BY event_id DESC LIMIT 1 OFFSET :n - 1
        ), 0)
        UNION
        SELECT id FROM events
        WHERE id > (SELECT upto FROM late_index) AND id < :before AND profile_id IN (SELECT id FROM members)
    ) ORDER BY event_id DESC LIMIT :n
) ORDER BY id DESC;

-- name: events.of_profile (postgres)
-- Return a page of the events of a profile and of all profiles merged into it, newest first. The newest key of each is
-- read, and more keys only of the :n profiles with the newest ones, because a page contains events of no others.
WITH newest AS MATERIALIZED (
    SELECT m.id, k.id AS event_id FROM (
        SELECT CAST(:profile_id AS bigint) AS id UNION ALL SELECT id FROM profiles WHERE merged_into = :profile_id
    ) m CROSS JOIN LATERAL (
        SELECT id FROM events WHERE profile_id = m.id AND id < :before ORDER BY id DESC LIMIT 1
    ) k ORDER BY k.id DESC LIMIT :n
), keys AS MATERIALIZED (
    SELECT k.id FROM newest m CROSS JOIN LATERAL (
        SELECT id FROM events WHERE profile_id = m.id AND id <= m.event_id ORDER BY id DESC LIMIT :n
    ) k ORDER BY k.id DESC LIMIT :n
)
SELECT e.id, e.message_id, e.type, e.profile_id, e.occurred_at, e.data FROM keys k JOIN events e ON e.id = k.id
ORDER BY e.id DESC;

-- name: events.get
-- Return an event of a workspace.
SELECT id, message_id, type, profile_id, occurred_at, data FROM events WHERE workspace_id = :workspace_id AND id = :id;

-- name: events.by_ids
-- Return events by id.
SELECT id, message_id, type, profile_id, occurred_at, data FROM events WHERE id IN @list(ids bigint);

-- name: events.after
-- Return a range of a workspace's events, oldest first, for a replay.
SELECT id, message_id, type, profile_id, occurred_at, data FROM events
WHERE workspace_id = :workspace_id AND id > :after AND id < :until ORDER BY id LIMIT :n;

-- name: events.oldest
-- Return the oldest events before an id, for retention.
SELECT id FROM events WHERE id < :before ORDER BY id LIMIT :n;

-- name: events.oldest_of_workspace (sqlite)
-- Return the oldest events of a workspace before an id.
SELECT id FROM events WHERE workspace_id = :workspace_id AND id < :before ORDER BY id LIMIT :n;

-- name: events.oldest_of_workspace (postgres)
-- By pairs: only the index by workspace has their order. Otherwise PostgreSQL searches the events of all workspaces.
SELECT id FROM events WHERE (workspace_id, id) > (:workspace_id, 0) AND (workspace_id, id) < (:workspace_id, :before)
ORDER BY workspace_id, id LIMIT :n;

-- name: events.delete
-- Delete events.
DELETE FROM events WHERE id IN @list(ids bigint);

-- name: event_types.list
-- Return a page of a workspace's event types.
SELECT type, metric FROM event_types WHERE workspace_id = :workspace_id AND type > :after ORDER BY type LIMIT :n;

-- name: event_types.insert
-- Record event types that are new to a workspace.
INSERT INTO event_types (workspace_id, type, metric, created_at) VALUES :rows
ON CONFLICT (workspace_id, type) DO NOTHING;

-- name: event_types.get
-- Return the metric of an event type.
SELECT metric FROM event_types WHERE workspace_id = :workspace_id AND type = :type;

-- name: events.of_type (sqlite)
-- Return a page of the events of a type, newest first. The few events that the late index does not contain yet are
-- scanned.
SELECT id, message_id, type, profile_id, occurred_at, data FROM events WHERE id IN (
    SELECT event_id FROM (
        SELECT event_id FROM (
            SELECT event_id FROM type_events
            WHERE workspace_id = :workspace_id AND type = :type AND event_id < :before AND event_id >= :since
            ORDER BY event_id DESC LIMIT :n
        )
        UNION
        SELECT id FROM events WHERE id > (SELECT upto FROM late_index) AND id < :before AND id >= :since
            AND workspace_id = :workspace_id AND type = :type
    ) ORDER BY event_id DESC LIMIT :n
) ORDER BY id DESC;

-- name: events.of_type (postgres)
-- Return a page of the events of a type, newest first.
SELECT id, message_id, type, profile_id, occurred_at, data FROM events
WHERE workspace_id = :workspace_id AND type = :type AND id < :before AND id >= :since ORDER BY id DESC LIMIT :n;

-- name: late.bound (sqlite)
-- Return up to which event the next step extends the late indexes.
SELECT max(id), count(*) FROM (
    SELECT id FROM events WHERE id > (SELECT upto FROM late_index) ORDER BY id LIMIT :n
);

-- name: late.keys (sqlite)
-- Add the message keys of a step, in the order of the keys, so that neighbours share a page.
INSERT OR IGNORE INTO message_keys (message_key, event_id)
SELECT message_key, id FROM events
WHERE id > (SELECT upto FROM late_index) AND id <= :bound AND message_key IS NOT NULL ORDER BY message_key;

-- name: late.history (sqlite)
-- Add the events of profiles of a step, in the order of the profiles.
INSERT OR IGNORE INTO profile_events (profile_id, event_id)
SELECT profile_id, id FROM events
WHERE id > (SELECT upto FROM late_index) AND id <= :bound AND profile_id IS NOT NULL ORDER BY profile_id, id;

-- name: late.types (sqlite)
-- Add the events of types of a step, in the order of the types.
INSERT OR IGNORE INTO type_events (workspace_id, type, event_id)
SELECT workspace_id, type, id FROM events
WHERE id > (SELECT upto FROM late_index) AND id <= :bound ORDER BY workspace_id, type, id;

-- name: late.times (sqlite)
-- Add the events of profiles of a step by type and time, in the order of the types.
INSERT OR IGNORE INTO type_times (workspace_id, type, occurred_at, event_id, profile_id)
SELECT workspace_id, type, occurred_at, id, profile_id FROM events
WHERE id > (SELECT upto FROM late_index) AND id <= :bound AND profile_id IS NOT NULL
ORDER BY workspace_id, type, occurred_at, id;

-- name: late.mark (sqlite)
-- Record up to which event the late indexes are complete.
UPDATE late_index SET upto = :bound;

-- name: late.forget (sqlite)
-- Remove the keys that the late index contains now from the writer's memory.
DELETE FROM tail_keys WHERE event_id <= :bound;

-- name: late.recall (sqlite)
-- Load the keys of events that are not in the late index yet, when the file is opened.
INSERT OR IGNORE INTO tail_keys (message_key, event_id)
SELECT message_key, id FROM events WHERE id > (SELECT upto FROM late_index) AND message_key IS NOT NULL;

-- name: events.newest
-- Return the highest event id.
SELECT coalesce(max(id), 0) FROM events;
