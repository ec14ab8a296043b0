-- Deliveries, attempts and replays.

-- name: deliveries.insert
-- Create deliveries.
INSERT INTO deliveries (endpoint_id, event_id, state, tries, attempts, due_at, node, reason, settled_at) VALUES :rows;

-- name: deliveries.insert_ordered
-- Record deliveries to endpoints that get the events of a subject in order.
INSERT INTO deliveries (endpoint_id, event_id, state, tries, attempts, due_at, node, reason, settled_at, subject, waits_for)
VALUES :rows;

-- name: deliveries.of_subjects (sqlite)
-- Return the pending deliveries of subjects: [endpoint, subject]. SQLite has one writer, so none is being changed. The
-- index is named, here and below, because SQLite prefers the primary key, which leads through all deliveries.
SELECT d.endpoint_id, d.subject, d.event_id, d.waits_for, d.node, 1
FROM json_each(:subjects) w CROSS JOIN deliveries d INDEXED BY deliveries_by_subject
WHERE d.endpoint_id = w.value ->> 0 AND d.subject = w.value ->> 1 AND d.state = 'pending' AND d.subject IS NOT NULL
ORDER BY d.endpoint_id, d.event_id;

-- name: deliveries.of_subjects (postgres)
-- Lock them, so that whoever settles one of them later finds what waits for it. Do not wait for one that another
-- transaction changes now: two recorders that waited for each other's deliveries would come to a deadlock. The last column
-- says which ones are locked; they come last, and once more. `+ 0` keeps the planner from the indexes of the endpoint.
WITH wanted AS MATERIALIZED (
    SELECT (w ->> 0)::bigint AS endpoint_id, (w ->> 1)::bigint AS subject FROM json_array_elements(:subjects::json) w
), locked AS MATERIALIZED (
    SELECT d.* FROM wanted w CROSS JOIN LATERAL (
        SELECT endpoint_id, subject, event_id, waits_for, node FROM deliveries
        WHERE subject = w.subject AND endpoint_id + 0 = w.endpoint_id AND state = 'pending' AND subject IS NOT NULL
        FOR UPDATE SKIP LOCKED
    ) d
)
SELECT d.*, 0 AS locked FROM wanted w CROSS JOIN LATERAL (
    SELECT endpoint_id, subject, event_id, waits_for, node FROM deliveries
    WHERE subject = w.subject AND endpoint_id + 0 = w.endpoint_id AND state = 'pending' AND subject IS NOT NULL
) d
UNION ALL SELECT l.*, 1 FROM locked l ORDER BY locked, endpoint_id, event_id;

-- name: deliveries.release_waiting (sqlite)
-- Make the deliveries due that waited for these: [endpoint, event].
UPDATE deliveries SET due_at = :now, waits_for = NULL WHERE (endpoint_id, event_id) IN (
    SELECT d.endpoint_id, d.event_id FROM json_each(:rows) r CROSS JOIN deliveries d INDEXED BY deliveries_waiting
    WHERE d.endpoint_id = r.value ->> 0 AND d.waits_for = r.value ->> 1 AND d.state = 'pending' AND d.waits_for IS NOT NULL
);

-- name: deliveries.release_waiting (postgres)
-- One look-up in the index per row.
UPDATE deliveries d SET due_at = :now, waits_for = NULL FROM json_array_elements(:rows::json) r CROSS JOIN LATERAL (
    SELECT ctid FROM deliveries WHERE endpoint_id + 0 = (r ->> 0)::bigint AND waits_for = (r ->> 1)::bigint
        AND waits_for IS NOT NULL AND state = 'pending' OFFSET 0
) found
WHERE d.ctid = found.ctid AND d.waits_for = (r ->> 1)::bigint AND d.state = 'pending';

-- name: deliveries.arrange (sqlite)
-- Let pending deliveries that no process holds wait for others: [endpoint, event, waits for or null, due].
UPDATE deliveries SET waits_for = r.value ->> 2, due_at = r.value ->> 3 FROM json_each(:rows) r
WHERE deliveries.endpoint_id = r.value ->> 0 AND deliveries.event_id = r.value ->> 1
    AND deliveries.state = 'pending' AND deliveries.node IS NULL;

-- name: deliveries.arrange (postgres)
-- The values are numbered as in SQLite's version.
UPDATE deliveries d SET waits_for = (r ->> 2)::bigint, due_at = (r ->> 3)::bigint FROM json_array_elements(:rows::json) r
WHERE d.endpoint_id = (r ->> 0)::bigint AND d.event_id = (r ->> 1)::bigint AND d.state = 'pending' AND d.node IS NULL;

-- name: deliveries.stretch_waiting
-- Return the last of the next so many waiting deliveries, in the order of their index.
SELECT endpoint_id, waits_for FROM deliveries
WHERE state = 'pending' AND waits_for IS NOT NULL AND (waits_for, endpoint_id) > (:event_id, :endpoint_id)
ORDER BY waits_for, endpoint_id LIMIT 1 OFFSET :n;

-- name: deliveries.stranded
-- Return what deliveries in one page of waiting ones wait for although it has ended or was deleted.
SELECT d.endpoint_id, d.waits_for FROM deliveries d
WHERE d.state = 'pending' AND d.waits_for IS NOT NULL AND (d.waits_for, d.endpoint_id) > (:event_id, :endpoint_id)
    AND (d.waits_for, d.endpoint_id) <= (:to_event, :to_endpoint) AND NOT EXISTS (
        SELECT 1 FROM deliveries p WHERE p.endpoint_id = d.endpoint_id AND p.event_id = d.waits_for AND p.state = 'pending'
    );

-- name: deliveries.held (sqlite)
-- Return which of these deliveries this process still holds.
SELECT json_group_array(json_array(d.endpoint_id, d.event_id)) FROM json_each(:rows) r CROSS JOIN deliveries d
WHERE d.endpoint_id = r.value ->> 0 AND d.event_id = r.value ->> 1 AND d.state = 'pending' AND d.node = :node;

-- name: deliveries.held (postgres)
-- Here and below, one look-up by the primary key per row: the planner may run a plain join as a scan of all pending rows.
SELECT coalesce(json_agg(json_build_array(d.endpoint_id, d.event_id)), '[]')::text
FROM (
    SELECT (r ->> 0)::bigint AS endpoint_id, (r ->> 1)::bigint AS event_id
    FROM json_array_elements(:rows::json) r ORDER BY 1, 2
) w CROSS JOIN LATERAL (
    SELECT * FROM deliveries WHERE endpoint_id = w.endpoint_id AND event_id = w.event_id FOR UPDATE
) d
WHERE d.state = 'pending' AND d.node = :node;

-- name: deliveries.settle_delivered (sqlite)
-- Record successful deliveries: [endpoint, event]. A separate statement, because nearly all are, and it takes a third of the time.
UPDATE deliveries SET state = 'delivered', tries = tries + 1, attempts = attempts + 1, due_at = NULL, node = NULL,
    reason = NULL, settled_at = :now
WHERE (endpoint_id, event_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:rows))
    AND state = 'pending' AND node = :node;

-- name: deliveries.settle_delivered (postgres)
-- The same for PostgreSQL.
UPDATE deliveries d SET state = 'delivered', tries = d.tries + 1, attempts = d.attempts + 1, due_at = NULL, node = NULL,
    reason = NULL, settled_at = :now
FROM json_array_elements(:rows::json) r CROSS JOIN LATERAL (
    SELECT ctid FROM deliveries WHERE endpoint_id = (r ->> 0)::bigint AND event_id = (r ->> 1)::bigint OFFSET 0
) found
WHERE d.ctid = found.ctid AND d.state = 'pending' AND d.node = :node;

-- name: deliveries.settle (sqlite)
-- Record the results of tries: [endpoint, event, state, due, reason]. Changes only deliveries that this process holds.
UPDATE deliveries SET state = r.value ->> 2, tries = tries + 1, attempts = attempts + 1, due_at = r.value ->> 3,
    node = NULL, reason = r.value ->> 4, settled_at = :now
FROM json_each(:rows) r
WHERE deliveries.endpoint_id = r.value ->> 0 AND deliveries.event_id = r.value ->> 1
    AND deliveries.state = 'pending' AND deliveries.node = :node;

-- name: deliveries.settle (postgres)
-- The values are numbered as in SQLite's version.
UPDATE deliveries d SET state = r ->> 2, tries = d.tries + 1, attempts = d.attempts + 1, due_at = (r ->> 3)::bigint,
    node = NULL, reason = r ->> 4, settled_at = :now
FROM json_array_elements(:rows::json) r CROSS JOIN LATERAL (
    SELECT ctid FROM deliveries WHERE endpoint_id = (r ->> 0)::bigint AND event_id = (r ->> 1)::bigint OFFSET 0
) found
WHERE d.ctid = found.ctid AND d.state = 'pending' AND d.node = :node;

-- name: deliveries.claim (sqlite)
-- Claim due deliveries of one endpoint, the longest due first.
UPDATE deliveries SET node = :node WHERE endpoint_id = :endpoint_id AND event_id IN (
    SELECT event_id FROM deliveries WHERE endpoint_id = :endpoint_id AND state = 'pending' AND due_at <= :now AND node IS NULL
    ORDER BY due_at, event_id LIMIT :n
) RETURNING event_id, tries, attempts;

-- name: deliveries.claim (postgres)
-- Several processes may claim at once; each skips the rows that another one locks. MATERIALIZED, so that the planner
-- cannot evaluate the selection again for every row and claim more than :n.
WITH due AS MATERIALIZED (
    SELECT endpoint_id, event_id FROM deliveries
    WHERE endpoint_id = :endpoint_id AND state = 'pending' AND due_at <= :now AND node IS NULL
    ORDER BY due_at, event_id LIMIT :n FOR UPDATE SKIP LOCKED
)
UPDATE deliveries d SET node = :node FROM due WHERE d.endpoint_id = due.endpoint_id AND d.event_id = due.event_id
RETURNING d.event_id, d.tries, d.attempts;

-- name: deliveries.claim_retries (sqlite)
-- Claim due retries of one endpoint.
UPDATE deliveries SET node = :node WHERE endpoint_id = :endpoint_id AND event_id IN (
    SELECT event_id FROM deliveries WHERE endpoint_id = :endpoint_id AND state = 'pending' AND tries > 0
        AND due_at <= :now AND node IS NULL
    ORDER BY due_at, event_id LIMIT :n
) RETURNING event_id, tries, attempts;

-- name: deliveries.claim_retries (postgres)
-- As in deliveries.claim.
WITH due AS MATERIALIZED (
    SELECT endpoint_id, event_id FROM deliveries
    WHERE endpoint_id = :endpoint_id AND state = 'pending' AND tries > 0 AND due_at <= :now AND node IS NULL
    ORDER BY due_at, event_id LIMIT :n FOR UPDATE SKIP LOCKED
)
UPDATE deliveries d SET node = :node FROM due WHERE d.endpoint_id = due.endpoint_id AND d.event_id = due.event_id
RETURNING d.event_id, d.tries, d.attempts;

-- name: deliveries.bring_back
-- Make retries due that are later than their schedule allows: a wrong clock scheduled them.
UPDATE deliveries SET due_at = :now
WHERE state = 'pending' AND node IS NULL AND waits_for IS NULL AND due_at > CAST(:now AS bigint) + CAST(:slack AS bigint)
    AND due_at > CAST(:now AS bigint) + CAST(:slack AS bigint) + CAST(:base AS bigint) * (1 << CASE WHEN tries > 1 THEN CAST(tries - 1 AS integer) ELSE 0 END)
    AND endpoint_id IN (SELECT endpoint_id FROM endpoint_counts WHERE pending <> 0);

-- name: deliveries.release (sqlite)
-- Release deliveries that this process holds and did not try.
UPDATE deliveries SET node = NULL WHERE (endpoint_id, event_id) IN (
    SELECT value ->> 0, value ->> 1 FROM json_each(:rows)
) AND state = 'pending' AND node = :node;

-- name: deliveries.release (postgres)
-- One look-up by the primary key per row.
UPDATE deliveries d SET node = NULL FROM json_array_elements(:rows::json) r CROSS JOIN LATERAL (
    SELECT ctid FROM deliveries WHERE endpoint_id = (r ->> 0)::bigint AND event_id = (r ->> 1)::bigint OFFSET 0
) found
WHERE d.ctid = found.ctid AND d.state = 'pending' AND d.node = :node;

-- name: deliveries.release_all (sqlite)
-- Release everything that evicted nodes held. The subselect, here and below, reads the index alone.
UPDATE deliveries SET node = NULL WHERE (endpoint_id, event_id) IN (
    SELECT endpoint_id, event_id FROM deliveries WHERE state = 'pending' AND node IN @list(nodes bigint)
);

-- name: deliveries.release_all (postgres)
-- Release everything that evicted nodes held.
UPDATE deliveries SET node = NULL WHERE state = 'pending' AND node IN @list(nodes bigint);

-- name: deliveries.release_others (sqlite)
-- Release everything, when the only process of a database starts.
UPDATE deliveries SET node = NULL WHERE (endpoint_id, event_id) IN (
    SELECT endpoint_id, event_id FROM deliveries WHERE state = 'pending' AND node IS NOT NULL
);

-- name: deliveries.release_others (postgres)
-- Release everything, when the only process of a database starts.
UPDATE deliveries SET node = NULL WHERE state = 'pending' AND node IS NOT NULL;

-- name: deliveries.give_up (sqlite)
-- Mark some pending deliveries of one endpoint as dead, whichever process holds them.
UPDATE deliveries SET state = 'dead', due_at = NULL, node = NULL, waits_for = NULL, reason = :reason, settled_at = :now
WHERE endpoint_id = :endpoint_id AND event_id IN (
    SELECT event_id FROM deliveries WHERE endpoint_id = :endpoint_id AND state = 'pending' ORDER BY due_at LIMIT :n
);

-- name: deliveries.give_up (postgres)
-- Several processes may do this at once: each skips the rows that another one locks, so that each is counted once.
WITH owed AS MATERIALIZED (
    SELECT endpoint_id, event_id FROM deliveries WHERE endpoint_id = :endpoint_id AND state = 'pending'
    ORDER BY due_at, event_id LIMIT :n FOR UPDATE SKIP LOCKED
)
UPDATE deliveries d SET state = 'dead', due_at = NULL, node = NULL, waits_for = NULL, reason = :reason, settled_at = :now
FROM owed WHERE d.endpoint_id = owed.endpoint_id AND d.event_id = owed.event_id;

-- name: deliveries.stretch_pending
-- Return the last of the next :n pending deliveries, in the order of their index.
SELECT endpoint_id, due_at, event_id FROM deliveries
WHERE state = 'pending' AND (endpoint_id, due_at, event_id) > (:endpoint_id, :due_at, :event_id)
ORDER BY endpoint_id, due_at, event_id LIMIT 1 OFFSET :n;

-- name: deliveries.unknown_to_holder
-- Return deliveries in one page of pending ones that this process holds, or that a node holds which does not exist.
SELECT d.endpoint_id, d.event_id, d.node FROM deliveries d
WHERE d.state = 'pending' AND (d.endpoint_id, d.due_at, d.event_id) > (:endpoint_id, :due_at, :event_id)
    AND (d.endpoint_id, d.due_at, d.event_id) <= (:to_endpoint, :to_due, :to_event)
    AND d.node IS NOT NULL AND (d.node = :node OR NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = d.node));

-- name: deliveries.get
-- Return a delivery.
SELECT d.endpoint_id, d.event_id, d.state, d.tries, d.attempts, d.due_at, d.reason, d.settled_at, e.type, d.waits_for
FROM deliveries d JOIN endpoints p ON p.id = d.endpoint_id LEFT JOIN events e ON e.id = d.event_id
WHERE d.endpoint_id = :endpoint_id AND d.event_id = :event_id AND p.workspace_id = :workspace_id;

-- name: deliveries.list
-- Return a page of an endpoint's deliveries, newest first.
SELECT d.endpoint_id, d.event_id, d.state, d.tries, d.attempts, d.due_at, d.reason, d.settled_at, e.type, d.waits_for
FROM deliveries d LEFT JOIN events e ON e.id = d.event_id
WHERE d.endpoint_id = :endpoint_id AND d.event_id < :before ORDER BY d.event_id DESC LIMIT :n;

-- name: deliveries.list_dead
-- Return a page of an endpoint's dead deliveries, newest first.
SELECT d.endpoint_id, d.event_id, d.state, d.tries, d.attempts, d.due_at, d.reason, d.settled_at, e.type, d.waits_for
FROM deliveries d LEFT JOIN events e ON e.id = d.event_id
WHERE d.endpoint_id = :endpoint_id AND d.event_id < :before AND d.state = 'dead' ORDER BY d.event_id DESC LIMIT :n;

-- name: deliveries.list_pending
-- Return a page of an endpoint's pending deliveries in the order in which they are tried, which is that of their index.
SELECT d.endpoint_id, d.event_id, d.state, d.tries, d.attempts, d.due_at, d.reason, d.settled_at, e.type, d.waits_for
FROM deliveries d LEFT JOIN events e ON e.id = d.event_id
WHERE d.endpoint_id = :endpoint_id AND d.state = 'pending' AND (d.due_at, d.event_id) > (:due_at, :event_id)
ORDER BY d.due_at, d.event_id LIMIT :n;

-- name: deliveries.states (sqlite)
-- Return the states of deliveries before they change; SQLite has one writer.
SELECT event_id, state FROM deliveries WHERE endpoint_id = :endpoint_id AND event_id IN @list(ids bigint);

-- name: deliveries.states (postgres)
-- Lock them, so that no other transaction requeues or settles them before they are counted.
SELECT event_id, state FROM deliveries WHERE endpoint_id = :endpoint_id AND event_id IN @list(ids bigint)
ORDER BY event_id FOR UPDATE;

-- name: deliveries.requeue
-- Queue deliveries again that have ended, with their full number of tries.
UPDATE deliveries SET state = 'pending', tries = 0, due_at = :due_at, node = NULL, reason = NULL, settled_at = NULL, waits_for = NULL
WHERE endpoint_id = :endpoint_id AND event_id IN @list(ids bigint) AND state <> 'pending';

-- name: deliveries.counts
-- Count deliveries by state, for `waypost check` to compare with the ledger.
SELECT endpoint_id, state, count(*) FROM deliveries GROUP BY endpoint_id, state;

-- name: deliveries.older (sqlite)
-- Return deliveries past their retention; SQLite has one writer.
SELECT event_id, state FROM deliveries WHERE endpoint_id = :endpoint_id AND event_id < :before ORDER BY event_id LIMIT :n;

-- name: deliveries.older (postgres)
-- Lock them, so that no other transaction settles them before they are counted and deleted.
SELECT event_id, state FROM deliveries WHERE endpoint_id = :endpoint_id AND event_id < :before ORDER BY event_id LIMIT :n
FOR UPDATE;

-- name: deliveries.delete
-- Delete deliveries.
DELETE FROM deliveries WHERE endpoint_id = :endpoint_id AND event_id IN @list(ids bigint);

-- name: attempts.insert
-- Record attempts.
INSERT INTO attempts (endpoint_id, id, event_id, number, started_at, duration_us, status, headers, body, error) VALUES :rows;

-- name: attempts.list
-- Return a page of an endpoint's attempts, newest first.
SELECT endpoint_id, id, event_id, number, started_at, duration_us, status, headers, body, error FROM attempts
WHERE endpoint_id = :endpoint_id AND id < :before ORDER BY id DESC LIMIT :n;

-- name: attempts.of_delivery
-- Return the attempts of a delivery, oldest first.
SELECT endpoint_id, id, event_id, number, started_at, duration_us, status, headers, body, error FROM attempts
WHERE endpoint_id = :endpoint_id AND event_id = :event_id ORDER BY id LIMIT :n;

-- name: attempts.older
-- Return attempts past their retention.
SELECT id FROM attempts WHERE endpoint_id = :endpoint_id AND id < :before ORDER BY id LIMIT :n;

-- name: attempts.delete
-- Delete attempts.
DELETE FROM attempts WHERE endpoint_id = :endpoint_id AND id IN @list(ids bigint);

-- name: replays.add
-- Create a replay.
INSERT INTO replays (id, workspace_id, endpoint_id, state, since, until, states, types, cursor_id, seen, queued, created_at, updated_at)
VALUES (:id, :workspace_id, :endpoint_id, 'running', :since, :until, :states, :types, :cursor_id, 0, 0, :now, :now);

-- name: replays.running
-- Return the running replays of enabled endpoints.
SELECT r.*, e.event_types AS patterns, e.filter AS filter, e.ordered AS ordered FROM replays r JOIN endpoints e ON e.id = r.endpoint_id
WHERE r.state = 'running' AND e.status = 'enabled' ORDER BY r.id LIMIT :n;

-- name: replays.lock (sqlite)
-- Return whether a replay has not advanced since it was read; SQLite has one writer.
SELECT id FROM replays WHERE id = :id AND state = 'running' AND cursor_id = :cursor_id;

-- name: replays.lock (postgres)
-- Lock a replay that has not advanced since it was read.
SELECT id FROM replays WHERE id = :id AND state = 'running' AND cursor_id = :cursor_id FOR UPDATE;

-- name: replays.advance
-- Advance a replay.
UPDATE replays SET cursor_id = :cursor_id, seen = seen + :seen, queued = queued + :queued, state = :state, updated_at = :now
WHERE id = :id;

-- name: replays.get
-- Return a replay.
SELECT * FROM replays WHERE workspace_id = :workspace_id AND id = :id;

-- name: replays.list
-- Return a page of an endpoint's replays, newest first.
SELECT * FROM replays WHERE endpoint_id = :endpoint_id AND id < :before ORDER BY id DESC LIMIT :n;

-- name: replays.end
-- Cancel a replay, or all replays of a deleted endpoint.
UPDATE replays SET state = 'cancelled', updated_at = :now
WHERE workspace_id = :workspace_id AND state = 'running' AND (id = :id OR endpoint_id = :endpoint_id);

-- name: deliveries.dead_after
-- Return a range of an endpoint's dead deliveries with their events, oldest first, for a replay.
SELECT e.id, e.message_id, e.type, e.profile_id, e.occurred_at, e.data FROM deliveries d JOIN events e ON e.id = d.event_id
WHERE d.endpoint_id = :endpoint_id AND d.state = 'dead' AND d.event_id > :after AND d.event_id < :until
ORDER BY d.event_id LIMIT :n;

-- name: deliveries.count_dead
-- Count the dead and the pending deliveries of an endpoint.
SELECT CAST(coalesce(sum(dead), 0) AS bigint), CAST(coalesce(sum(pending), 0) AS bigint) FROM endpoint_counts WHERE endpoint_id = :endpoint_id;

-- name: deliveries.oldest_dead
-- Return the oldest dead delivery of an endpoint.
SELECT event_id FROM deliveries WHERE endpoint_id = :endpoint_id AND state = 'dead' ORDER BY event_id LIMIT 1;

-- name: deliveries.lock (sqlite)
-- Return the state of a delivery before it is changed by hand; SQLite has one writer.
SELECT state, subject FROM deliveries WHERE endpoint_id = :endpoint_id AND event_id = :event_id;

-- name: deliveries.lock (postgres)
-- Lock a delivery before it is changed by hand.
SELECT state, subject FROM deliveries WHERE endpoint_id = :endpoint_id AND event_id = :event_id FOR UPDATE;

-- name: deliveries.hasten
-- Make a pending delivery that no process holds due now.
UPDATE deliveries SET due_at = :now
WHERE endpoint_id = :endpoint_id AND event_id = :event_id AND state = 'pending' AND node IS NULL AND due_at > :now;

-- name: deliveries.hasten_subject
-- Make the first pending delivery of a subject due now, unless a process holds it; the others wait for it.
UPDATE deliveries SET due_at = :now
WHERE endpoint_id + 0 = :endpoint_id AND subject = :subject AND subject IS NOT NULL AND state = 'pending' AND node IS NULL
    AND waits_for IS NULL AND due_at + 0 > :now;

-- name: replays.count_running
-- Count the running replays of an endpoint.
SELECT count(*) FROM replays WHERE endpoint_id = :endpoint_id AND state = 'running';

-- name: deliveries.stretch_delivered
-- Return delivered ones among the next :scan deliveries of an endpoint, so that a page reads no more rows.
SELECT d.endpoint_id, d.event_id, d.state, d.tries, d.attempts, d.due_at, d.reason, d.settled_at, e.type, d.waits_for FROM (
    SELECT endpoint_id, event_id, state, tries, attempts, due_at, reason, settled_at, waits_for FROM deliveries
    WHERE endpoint_id = :endpoint_id AND event_id < :before ORDER BY event_id DESC LIMIT :scan
) d LEFT JOIN events e ON e.id = d.event_id
WHERE d.state = 'delivered' ORDER BY d.event_id DESC LIMIT :n;

-- name: deliveries.stretch_end
-- Return where that range ends, and how many deliveries it has.
SELECT min(event_id), count(*) FROM (
    SELECT event_id FROM deliveries WHERE endpoint_id = :endpoint_id AND event_id < :before ORDER BY event_id DESC LIMIT :scan
) stretch;
