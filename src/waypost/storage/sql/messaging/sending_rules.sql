-- Sending rules, what they hold, and what they count.

-- name: sending_rules.get
-- Return the time zone and the sending rules of a workspace; nulls if they were never set.
SELECT w.time_zone, r.rules, r.version, r.updated_at, r.updated_by, EXISTS (SELECT 1 FROM users u WHERE u.id = r.updated_by)
FROM workspaces w LEFT JOIN sending_rules r ON r.workspace_id = w.id WHERE w.id = :workspace_id;

-- name: sending_rules.of_workspaces
-- Return the time zones and the sending rules of workspaces.
SELECT w.id, w.time_zone, r.rules FROM workspaces w LEFT JOIN sending_rules r ON r.workspace_id = w.id
WHERE w.id IN @list(ids bigint);

-- name: sending_rules.zone_changed
-- Give the rules of a workspace another version, because they show its time zone.
UPDATE sending_rules SET version = version + 1, updated_at = :now, updated_by = :updated_by WHERE workspace_id = :workspace_id;

-- name: sending_rules.set
-- Store the sending rules of a workspace.
INSERT INTO sending_rules (workspace_id, rules, version, updated_at, updated_by)
VALUES (:workspace_id, :rules, 1, :now, :updated_by)
ON CONFLICT (workspace_id) DO UPDATE SET rules = excluded.rules, version = sending_rules.version + 1,
    updated_at = excluded.updated_at, updated_by = excluded.updated_by;

-- name: sending_rules.facts (sqlite)
-- Return what sending rules ask of messages: when each was first held, its exemptions, its person, and the person's time zone and
-- phone number. A merged profile stands for the one that it was merged into.
SELECT m.id, m.held_at, m.exempt, coalesce(s.id, m.profile_id), s.traits ->> '$.timezone[0]', (
    SELECT i.value FROM identities i WHERE i.profile_id = s.id AND i.kind = 'phone' ORDER BY i.claimed_at DESC, i.value LIMIT 1
) FROM messages m LEFT JOIN profiles p ON p.id = m.profile_id LEFT JOIN profiles s ON s.id = coalesce(p.merged_into, p.id)
WHERE m.id IN @list(ids bigint);

-- name: sending_rules.facts (postgres)
-- The same.
SELECT m.id, m.held_at, m.exempt, coalesce(s.id, m.profile_id), s.traits::json #>> '{timezone,0}', (
    SELECT i.value FROM identities i WHERE i.profile_id = s.id AND i.kind = 'phone' ORDER BY i.claimed_at DESC, i.value LIMIT 1
) FROM messages m LEFT JOIN profiles p ON p.id = m.profile_id LEFT JOIN profiles s ON s.id = coalesce(p.merged_into, p.id)
WHERE m.id IN @list(ids bigint);

-- name: messages.hold (sqlite)
-- Store when messages were first held, and move when they expire.
WITH v (id, held_at, expires_at) AS (VALUES :rows)
UPDATE messages SET held_at = v.held_at, expires_at = v.expires_at FROM v WHERE messages.id = v.id;

-- name: messages.hold (postgres)
-- The columns are numbered as in SQLite's version.
UPDATE messages m SET held_at = (r ->> 1)::bigint, expires_at = (r ->> 2)::bigint
FROM json_array_elements(:rows::json) r WHERE m.id = (r ->> 0)::bigint;

-- name: messages.held_next
-- Return when the next message that a sending rule holds is due.
SELECT due_at FROM messages WHERE status = 'held' AND held_at IS NOT NULL ORDER BY due_at, id LIMIT 1;

-- name: messages.held_due (sqlite)
-- Return messages that a sending rule held and that are due, the longest due first.
SELECT id FROM messages WHERE status = 'held' AND held_at IS NOT NULL AND due_at <= :now ORDER BY due_at, id LIMIT :n;

-- name: messages.held_due (postgres)
-- Several processes may run this at once; each skips the rows that another one locks.
SELECT id FROM messages WHERE status = 'held' AND held_at IS NOT NULL AND due_at <= :now ORDER BY due_at, id LIMIT :n
FOR UPDATE SKIP LOCKED;

-- name: messages.held_ahead (sqlite)
-- Make messages due that were held at a time after the present: a wrong clock held them.
UPDATE messages SET due_at = :now, updated_at = :now WHERE id IN (
    SELECT id FROM messages WHERE status = 'held' AND held_at IS NOT NULL AND due_at > :written_after
        AND updated_at > :written_after
    ORDER BY due_at, id LIMIT :n
);

-- name: messages.held_ahead (postgres)
-- The same; two processes take different ones.
UPDATE messages SET due_at = :now, updated_at = :now WHERE id IN (
    SELECT id FROM messages WHERE status = 'held' AND held_at IS NOT NULL AND due_at > :written_after
        AND updated_at > :written_after
    ORDER BY due_at, id LIMIT :n FOR UPDATE SKIP LOCKED
);

-- name: recent_sends.lock (sqlite)
-- Return what people were sent lately, before it changes; SQLite has one writer.
SELECT person, sends FROM recent_sends WHERE workspace_id = :workspace_id AND person IN @list(people text);

-- name: recent_sends.lock (postgres)
-- Lock these rows, and make those that are missing, so that two transactions cannot both find that a person was sent nothing. The
-- people are sorted, so that the transactions cannot deadlock.
INSERT INTO recent_sends (workspace_id, person, sends, expires_at)
SELECT :workspace_id::bigint, person, '[]', 0 FROM unnest(:people::text[]) AS person
ON CONFLICT (workspace_id, person) DO UPDATE SET expires_at = recent_sends.expires_at
RETURNING person, sends;

-- name: recent_sends.write
-- Store what people were sent lately.
INSERT INTO recent_sends (workspace_id, person, sends, expires_at) VALUES :rows
ON CONFLICT (workspace_id, person) DO UPDATE SET sends = excluded.sends, expires_at = excluded.expires_at;

-- name: recent_sends.survivors
-- Return the profiles that these were merged into.
SELECT id, merged_into FROM profiles WHERE id IN @list(ids bigint) AND merged_into IS NOT NULL;

-- name: recent_sends.expired
-- Return people of whom no frequency cap counts anything any more.
SELECT workspace_id, person FROM recent_sends WHERE expires_at < :before ORDER BY expires_at LIMIT :n;

-- name: recent_sends.delete
-- Delete the rows of such people, unless something was sent to them since they were read.
DELETE FROM recent_sends WHERE workspace_id = :workspace_id AND person IN @list(people text) AND expires_at < :before;
