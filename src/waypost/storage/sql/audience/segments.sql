-- Segments: the facts of people that their conditions ask about.

-- name: facts.people
-- Return the traits of profiles that were not merged into others.
SELECT id, traits FROM profiles WHERE workspace_id = :workspace_id AND merged_into IS NULL AND id IN @list(ids bigint);

-- name: facts.identifiers
-- Return the identifiers of profiles.
SELECT profile_id, kind, value FROM identities WHERE profile_id IN @list(ids bigint);

-- name: facts.lists
-- Return the lists of which profiles are subscribed members.
SELECT m.profile_id, m.list_id FROM list_members m JOIN lists l ON l.id = m.list_id
WHERE m.profile_id IN @list(ids bigint) AND m.state = 'subscribed' AND l.deleted_at IS NULL
    AND l.workspace_id = :workspace_id;

-- name: facts.tags
-- Return the tags of profiles.
SELECT profile_id, tag FROM profile_tags WHERE profile_id IN @list(ids bigint) AND workspace_id = :workspace_id;

-- name: facts.channels
-- Return the channels to which an address of a profile is subscribed.
SELECT i.profile_id, s.channel FROM identities i JOIN subscriptions s
    ON s.workspace_id = i.workspace_id AND s.address = i.value
    AND s.channel = CASE i.kind WHEN 'phone' THEN 'sms' WHEN 'email' THEN 'email' END
WHERE i.profile_id IN @list(ids bigint) AND s.state = 'subscribed';

-- name: facts.events (sqlite)
-- Return the events of some types of profiles, and of those that were merged into them. The few events that the late
-- index does not contain yet are scanned.
WITH members (id, person) AS MATERIALIZED (
    SELECT value, value FROM json_each(:ids)
    UNION ALL SELECT id, merged_into FROM profiles WHERE merged_into IN (SELECT value FROM json_each(:ids))
)
SELECT m.person, e.type, e.occurred_at, CASE WHEN e.type IN (SELECT value FROM json_each(:with_data)) THEN e.data END
FROM members m CROSS JOIN profile_events k ON k.profile_id = m.id CROSS JOIN events e ON e.id = k.event_id
WHERE e.type IN (SELECT value FROM json_each(:types)) AND e.occurred_at > :since
UNION ALL
SELECT m.person, e.type, e.occurred_at, CASE WHEN e.type IN (SELECT value FROM json_each(:with_data)) THEN e.data END
FROM events e CROSS JOIN members m ON m.id = e.profile_id
WHERE e.id > (SELECT upto FROM late_index) AND e.type IN (SELECT value FROM json_each(:types)) AND e.occurred_at > :since;

-- name: facts.events (postgres)
-- Return the events of some types of profiles, and of those that were merged into them.
SELECT m.person, e.type, e.occurred_at, CASE WHEN e.type = ANY(CAST(:with_data AS text[])) THEN e.data END
FROM (
    SELECT id, id AS person FROM unnest(CAST(:ids AS bigint[])) i (id)
    UNION ALL SELECT id, merged_into FROM profiles WHERE merged_into = ANY(CAST(:ids AS bigint[]))
) m CROSS JOIN LATERAL (
    SELECT type, occurred_at, data FROM events WHERE profile_id = m.id AND type = ANY(CAST(:types AS text[]))
        AND occurred_at > :since OFFSET 0
) e;

-- name: segments.conditions
-- Return the present conditions of segments.
SELECT id, condition FROM segments WHERE workspace_id = :workspace_id AND id IN @list(ids bigint) AND deleted_at IS NULL;
