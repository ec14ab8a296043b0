-- What happened.

-- name: events.known (sqlite)
-- Which of a batch's messages are here already. One row of JSON: each row read costs a hand-over of the interpreter lock.
-- The newest keys are in the writer's memory, the others in a table that follows behind.
SELECT json_group_array(json_array(e.message_key, e.workspace_id, e.message_id))
FROM json_each(:keys) k CROSS JOIN events e ON e.id = coalesce(
    (SELECT t.event_id FROM tail_keys t WHERE t.message_key = k.value),
    (SELECT m.event_id FROM message_keys m WHERE m.message_key = k.value)
);

-- name: events.known (postgres)
SELECT coalesce(json_agg(json_build_array(message_key, workspace_id, message_id)), '[]')::text
FROM events WHERE message_key IN @list(keys bigint);

-- name: events.insert
INSERT INTO events (id, workspace_id, message_key, message_id, type, profile_id, occurred_at, data) VALUES :rows;

-- name: events.list
SELECT id, message_id, type, profile_id, occurred_at, data FROM events
WHERE workspace_id = :workspace_id AND id < :before AND id >= :since ORDER BY id DESC LIMIT :n;

-- name: events.of_profile (sqlite)
-- The newest events of a profile and of all that were merged into it. Of each member the newest key is read, and more of
-- the :n members only that have the newest ones, since a page can hold events of no other. The few events that the table
-- of keys does not hold yet, as it follows behind, are looked through.
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
-- The newest events of a profile and of all that were merged into it. Of each member the newest key is read, and more of
-- the :n members only that have the newest ones, since a page can hold events of no other.
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
SELECT id, message_id, type, profile_id, occurred_at, data FROM events WHERE workspace_id = :workspace_id AND id = :id;

-- name: events.by_ids
SELECT id, message_id, type, profile_id, occurred_at, data FROM events WHERE id IN @list(ids bigint);

-- name: events.after
-- A stretch of a workspace's events, oldest first, for a replay.
SELECT id, message_id, type, profile_id, occurred_at, data FROM events
WHERE workspace_id = :workspace_id AND id > :after AND id < :until ORDER BY id LIMIT :n;

-- name: events.oldest
SELECT id FROM events WHERE id < :before ORDER BY id LIMIT :n;

-- name: events.delete
DELETE FROM events WHERE id IN @list(ids bigint);

-- name: event_types.list
SELECT type, metric FROM event_types WHERE workspace_id = :workspace_id AND type > :after ORDER BY type LIMIT :n;

-- name: event_types.insert
INSERT INTO event_types (workspace_id, type, metric, created_at) VALUES :rows
ON CONFLICT (workspace_id, type) DO NOTHING;

-- name: event_types.get
SELECT metric FROM event_types WHERE workspace_id = :workspace_id AND type = :type;

-- name: events.stretch_of_type
-- Events of one type among the newest so many: a page never reads more rows than that, however rare the type.
SELECT id, message_id, type, profile_id, occurred_at, data FROM (
    SELECT id, message_id, type, profile_id, occurred_at, data FROM events
    WHERE workspace_id = :workspace_id AND id < :before AND id >= :since ORDER BY id DESC LIMIT :scan
) stretch WHERE type = :type ORDER BY id DESC LIMIT :n;

-- name: events.stretch_end
-- Where such a stretch ends, and how many events it has.
SELECT min(id), count(*) FROM (
    SELECT id FROM events WHERE workspace_id = :workspace_id AND id < :before AND id >= :since ORDER BY id DESC LIMIT :scan
) stretch;

-- name: late.bound (sqlite)
-- How far the tables that follow behind can be brought in one step.
SELECT max(id), count(*) FROM (
    SELECT id FROM events WHERE id > (SELECT upto FROM late_index) ORDER BY id LIMIT :n
);

-- name: late.keys (sqlite)
-- In the order of the keys: neighbours share a page.
INSERT OR IGNORE INTO message_keys (message_key, event_id)
SELECT message_key, id FROM events
WHERE id > (SELECT upto FROM late_index) AND id <= :bound AND message_key IS NOT NULL ORDER BY message_key;

-- name: late.history (sqlite)
INSERT OR IGNORE INTO profile_events (profile_id, event_id)
SELECT profile_id, id FROM events
WHERE id > (SELECT upto FROM late_index) AND id <= :bound AND profile_id IS NOT NULL ORDER BY profile_id, id;

-- name: late.mark (sqlite)
UPDATE late_index SET upto = :bound;

-- name: late.forget (sqlite)
DELETE FROM tail_keys WHERE event_id <= :bound;

-- name: late.recall (sqlite)
-- When the file is opened: what had not been indexed when it was closed, or the process killed.
INSERT OR IGNORE INTO tail_keys (message_key, event_id)
SELECT message_key, id FROM events WHERE id > (SELECT upto FROM late_index) AND message_key IS NOT NULL;

-- name: events.newest
SELECT coalesce(max(id), 0) FROM events;
