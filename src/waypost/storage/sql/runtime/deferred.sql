-- Deferred events: areas react to them in a later transaction, since they followed from events too often in their own.

-- name: deferred.add
-- Defer events.
INSERT INTO deferred_events (event_id) VALUES :rows;

-- name: deferred.any
-- Return whether any event is deferred.
SELECT 1 FROM deferred_events LIMIT 1;

-- name: deferred.take (sqlite)
-- Return the oldest deferred events.
SELECT e.id, e.workspace_id, e.message_id, e.type, e.profile_id, e.occurred_at, e.data
FROM deferred_events d JOIN events e ON e.id = d.event_id ORDER BY d.event_id LIMIT :n;

-- name: deferred.take (postgres)
-- Lock the oldest deferred events that no other process has locked.
SELECT e.id, e.workspace_id, e.message_id, e.type, e.profile_id, e.occurred_at, e.data
FROM deferred_events d JOIN events e ON e.id = d.event_id ORDER BY d.event_id LIMIT :n FOR UPDATE OF d SKIP LOCKED;

-- name: deferred.delete
-- Remove events from the deferred ones.
DELETE FROM deferred_events WHERE event_id IN @list(ids bigint);
