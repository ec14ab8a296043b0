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

-- name: segments.insert
-- Create a segment in its first version.
INSERT INTO segments (
    id, workspace_id, name, condition, version, created_at, updated_at, tracked, filled_to, announces, advanced_at
) VALUES (:id, :workspace_id, :name, :condition, 1, :now, :now, :tracked, :filled_to, :announces, :now);

-- name: segments.add_version
-- Store a version of a segment.
INSERT INTO segment_versions (segment_id, version, condition, created_at) VALUES (:id, :version, :condition, :now);

-- name: segments.versions
-- Return the versions of a segment, the newest first.
SELECT v.version, v.condition, v.created_at FROM segments s JOIN segment_versions v ON v.segment_id = s.id
WHERE s.workspace_id = :workspace_id AND s.id = :id ORDER BY v.version DESC LIMIT :n;

-- name: segments.get
-- Return a segment.
SELECT id, name, condition, version, tracked, filled_to, created_at, updated_at FROM segments
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: segments.list
-- Return a page of segments, newest first.
SELECT id, name, condition, version, tracked, filled_to, created_at, updated_at FROM segments
WHERE workspace_id = :workspace_id AND id < :before AND deleted_at IS NULL ORDER BY id DESC LIMIT :n;

-- name: segments.all
-- Return all segments of a workspace.
SELECT id, name, condition, version, tracked, filled_to, announces FROM segments
WHERE workspace_id = :workspace_id AND deleted_at IS NULL ORDER BY id;

-- name: segments.change
-- Change a segment whose version has not changed meanwhile.
UPDATE segments SET name = :name, condition = :condition, version = :version, tracked = :tracked, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND version = :was AND deleted_at IS NULL;

-- name: segments.delete
-- Delete a segment; its versions stay.
UPDATE segments SET deleted_at = :now, updated_at = :now, tracked = 0, filled_to = 0, advanced_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: segments.refill
-- Have all profiles evaluated again for segments.
UPDATE segments SET filled_to = 0, announces = :announces, advanced_at = :now WHERE id IN @list(ids bigint);

-- name: segments.campaigns
-- Return campaigns that are not over and name a segment or a list.
SELECT name FROM campaigns WHERE workspace_id = :workspace_id AND state NOT IN ('finished', 'cancelled')
    AND deleted_at IS NULL AND definition LIKE '%' || CAST(:name AS text) || '%' ORDER BY id LIMIT :n;

-- name: segments.lists
-- Return which of these lists exist.
SELECT id FROM lists WHERE workspace_id = :workspace_id AND id IN @list(ids bigint) AND deleted_at IS NULL;

-- name: segments.people
-- Return profiles and their latest identifiers, for a page of members.
SELECT p.id, p.traits, i.kind, i.value FROM profiles p LEFT JOIN identities i ON i.profile_id = p.id
WHERE p.id IN @list(ids bigint) ORDER BY p.id, i.claimed_at DESC, i.value;

-- name: segments.population
-- Count the profiles of a workspace; those that were merged into others are few and counted too.
SELECT count(*) FROM profiles WHERE workspace_id = :workspace_id;

-- name: segments.sample
-- Return one of :step profiles of a workspace: an id begins with the microsecond of its creation.
SELECT id FROM profiles WHERE workspace_id = :workspace_id AND merged_into IS NULL AND (id / 4096) % :step = 0
ORDER BY id LIMIT :n;

-- name: segments.config (sqlite)
-- Return the versions of the segments of workspaces; SQLite has one writer.
SELECT workspace_id, version FROM configurations WHERE area = 'segments' AND workspace_id IN @list(ids bigint);

-- name: segments.config (postgres)
-- Lock them, so that a change of segments waits for the batches before it, and is known to those after it.
SELECT workspace_id, version FROM configurations WHERE area = 'segments' AND workspace_id = ANY(CAST(:ids AS bigint[]))
ORDER BY workspace_id FOR SHARE;

-- name: segments.add_config
-- Give workspaces their first version.
INSERT INTO configurations (workspace_id, area, version) VALUES :rows ON CONFLICT (workspace_id, area) DO NOTHING;

-- name: segments.lock_people (sqlite)
-- Return the profiles that are about to be evaluated; SQLite has one writer.
SELECT id FROM profiles WHERE id IN @list(ids bigint) ORDER BY id;

-- name: segments.lock_people (postgres)
-- Lock them: of two events of a person at once, the later transaction counts both.
SELECT id FROM profiles WHERE id IN @list(ids bigint) ORDER BY id FOR NO KEY UPDATE;

-- name: segments.workspaces
-- Return the workspaces of profiles.
SELECT id, workspace_id FROM profiles WHERE id IN @list(ids bigint);

-- name: segment_members.of
-- Return the memberships of profiles.
SELECT segment_id, profile_id FROM segment_members WHERE profile_id IN @list(ids bigint);

-- name: segment_members.of_person
-- Return the tracked segments that profiles are in, and since when.
SELECT s.id, s.name, m.since FROM segment_members m JOIN segments s ON s.id = m.segment_id
WHERE m.profile_id IN @list(ids bigint) AND s.workspace_id = :workspace_id AND s.deleted_at IS NULL AND s.tracked = 1 ORDER BY s.id;

-- name: segment_members.insert
-- Record members.
INSERT INTO segment_members (segment_id, profile_id, since) VALUES :rows ON CONFLICT (segment_id, profile_id) DO NOTHING;

-- name: segment_members.delete (sqlite)
-- Delete members.
DELETE FROM segment_members WHERE (segment_id, profile_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:rows));

-- name: segment_members.delete (postgres)
-- Delete members.
DELETE FROM segment_members m USING json_array_elements(:rows::json) r
WHERE m.segment_id = (r ->> 0)::bigint AND m.profile_id = (r ->> 1)::bigint;

-- name: segment_members.clear
-- Delete some members of segments that are not tracked any more.
DELETE FROM segment_members WHERE segment_id = :id AND profile_id IN (
    SELECT profile_id FROM segment_members WHERE segment_id = :id ORDER BY profile_id LIMIT :n
);

-- name: segment_rechecks.of
-- Return when profiles are due.
SELECT segment_id, profile_id, due_at FROM segment_rechecks WHERE profile_id IN @list(ids bigint);

-- name: segment_rechecks.set
-- Set when profiles are due.
INSERT INTO segment_rechecks (segment_id, profile_id, due_at) VALUES :rows
ON CONFLICT (segment_id, profile_id) DO UPDATE SET due_at = excluded.due_at;

-- name: segment_rechecks.delete (sqlite)
-- Delete times of profiles that time alone does not change.
DELETE FROM segment_rechecks WHERE (segment_id, profile_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:rows));

-- name: segment_rechecks.delete (postgres)
-- Delete times of profiles that time alone does not change.
DELETE FROM segment_rechecks c USING json_array_elements(:rows::json) r
WHERE c.segment_id = (r ->> 0)::bigint AND c.profile_id = (r ->> 1)::bigint;

-- name: segment_rechecks.clear
-- Delete some times of segments that are not tracked any more.
DELETE FROM segment_rechecks WHERE segment_id = :id AND profile_id IN (
    SELECT profile_id FROM segment_rechecks WHERE segment_id = :id ORDER BY profile_id LIMIT :n
);

-- name: segment_rechecks.due (sqlite)
-- Return those that are due, with their workspaces.
SELECT c.segment_id, c.profile_id, s.workspace_id FROM segment_rechecks c JOIN segments s ON s.id = c.segment_id
WHERE c.due_at <= :now ORDER BY c.due_at LIMIT :n;

-- name: segment_rechecks.due (postgres)
-- Claim those that are due, with their workspaces; another process takes others.
SELECT c.segment_id, c.profile_id, s.workspace_id FROM segment_rechecks c JOIN segments s ON s.id = c.segment_id
WHERE c.due_at <= :now ORDER BY c.due_at LIMIT :n FOR UPDATE OF c SKIP LOCKED;

-- name: segment_rechecks.next
-- Return when the next one is due.
SELECT min(due_at) FROM segment_rechecks;

-- name: segments.unfilled (sqlite)
-- Return a segment whose profiles are to be evaluated.
SELECT id, workspace_id, tracked, filled_to FROM segments WHERE filled_to IS NOT NULL ORDER BY id LIMIT 1;

-- name: segments.unfilled (postgres)
-- Claim a segment whose profiles are to be evaluated; another process takes another one.
SELECT id, workspace_id, tracked, filled_to FROM segments WHERE filled_to IS NOT NULL ORDER BY id LIMIT 1
FOR NO KEY UPDATE SKIP LOCKED;

-- name: segments.any_unfilled
-- Return whether a segment's profiles are to be evaluated.
SELECT id FROM segments WHERE filled_to IS NOT NULL LIMIT 1;

-- name: segments.filling
-- Return how far the evaluations of segments are that are not complete.
SELECT id, filled_to, announces FROM segments WHERE workspace_id = :workspace_id AND filled_to IS NOT NULL;

-- name: segments.next_people
-- Return the next profiles of a workspace.
SELECT id FROM profiles WHERE workspace_id = :workspace_id AND id > :after AND merged_into IS NULL ORDER BY id LIMIT :n;

-- name: segments.fill
-- Record how far the evaluation of a segment is.
UPDATE segments SET filled_to = :filled_to, advanced_at = :now WHERE id = :id;
