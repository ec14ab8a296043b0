-- Profiles and their identifiers.

-- name: identities.find (sqlite)
-- Return the profiles of the identifiers of a batch. One row of JSON, as in events.known.
SELECT json_group_array(json_array(i.workspace_id, i.kind, i.value, i.profile_id, i.claimed_at))
FROM json_each(:wanted) w CROSS JOIN identities i
WHERE i.workspace_id = w.value ->> 0 AND i.kind = w.value ->> 1 AND i.value = w.value ->> 2;

-- name: identities.find (postgres)
-- One look-up by the primary key per identifier: the planner may run a plain join as a scan of all identities.
SELECT coalesce(json_agg(json_build_array(i.workspace_id, i.kind, i.value, i.profile_id, i.claimed_at)), '[]')::text
FROM json_array_elements(:wanted::json) w CROSS JOIN LATERAL (
    SELECT * FROM identities WHERE workspace_id = (w ->> 0)::bigint AND kind = w ->> 1 AND value = w ->> 2 OFFSET 0
) i;

-- name: identities.moved (sqlite)
-- Return what identities.find returns after the profiles were locked; SQLite has one writer, so nothing has changed.
SELECT NULL WHERE :wanted IS NULL;

-- name: identities.moved (postgres)
-- Return what identities.find returns after the profiles were locked, to detect changes of other transactions.
SELECT coalesce(json_agg(json_build_array(i.workspace_id, i.kind, i.value, i.profile_id, i.claimed_at)), '[]')::text
FROM json_array_elements(:wanted::json) w CROSS JOIN LATERAL (
    SELECT * FROM identities WHERE workspace_id = (w ->> 0)::bigint AND kind = w ->> 1 AND value = w ->> 2 OFFSET 0
) i;

-- name: identities.insert
-- Record new identifiers.
INSERT INTO identities (workspace_id, kind, value, profile_id, claimed_at) VALUES :rows;

-- name: identities.reclaim
-- Move identifiers to other profiles, or renew their claims. The later claim wins, whichever is written last.
INSERT INTO identities (workspace_id, kind, value, profile_id, claimed_at) VALUES :rows
ON CONFLICT (workspace_id, kind, value) DO UPDATE SET profile_id = excluded.profile_id, claimed_at = excluded.claimed_at
WHERE excluded.claimed_at > identities.claimed_at;

-- name: identities.move
-- Move all identifiers of merged profiles to the profiles that they were merged into.
UPDATE identities SET profile_id = (
    SELECT p.merged_into FROM profiles p WHERE p.id = identities.profile_id
) WHERE profile_id IN @list(ids bigint);

-- name: profiles.load (sqlite)
-- Return profiles that may change, and whether each has a userId.
SELECT p.id, p.workspace_id, p.traits, p.created_at, p.merged_into, EXISTS (
    SELECT 1 FROM identities i WHERE i.profile_id = p.id AND i.kind = 'user_id'
) FROM profiles p WHERE p.id IN @list(ids bigint);

-- name: profiles.load (postgres)
-- Lock them in the order of their ids, so that two transactions cannot deadlock.
SELECT p.id, p.workspace_id, p.traits, p.created_at, p.merged_into, EXISTS (
    SELECT 1 FROM identities i WHERE i.profile_id = p.id AND i.kind = 'user_id'
) FROM profiles p WHERE p.id IN @list(ids bigint) ORDER BY p.id FOR UPDATE OF p;

-- name: profiles.insert
-- Create profiles.
INSERT INTO profiles (id, workspace_id, merged_into, traits, created_at, updated_at) VALUES :rows;

-- name: profiles.update
-- Update profiles. An upsert, because that is the one bulk statement that both databases share; the rows always exist.
INSERT INTO profiles (id, workspace_id, merged_into, traits, created_at, updated_at) VALUES :rows
ON CONFLICT (id) DO UPDATE SET merged_into = excluded.merged_into, traits = excluded.traits,
    created_at = excluded.created_at, updated_at = excluded.updated_at;

-- name: profiles.follow
-- Redirect profiles that were merged into a profile which is now merged itself.
UPDATE profiles SET merged_into = (
    SELECT p.merged_into FROM profiles p WHERE p.id = profiles.merged_into
) WHERE merged_into IN @list(ids bigint);

-- name: profiles.get
-- Return a profile.
SELECT id, merged_into, traits, created_at, updated_at FROM profiles WHERE workspace_id = :workspace_id AND id = :id;

-- name: profiles.list (sqlite)
-- Return a page of profiles without merged ones, newest first.
SELECT id, merged_into, traits, created_at, updated_at FROM profiles
WHERE workspace_id = :workspace_id AND id < :before AND merged_into IS NULL ORDER BY id DESC LIMIT :n;

-- name: profiles.list (postgres)
-- By pairs: in the order of ids alone, PostgreSQL would search the rows of all workspaces for those of one.
SELECT id, merged_into, traits, created_at, updated_at FROM profiles
WHERE (workspace_id, id) < (:workspace_id, :before) AND (workspace_id, id) > (:workspace_id, 0) AND merged_into IS NULL
ORDER BY workspace_id DESC, id DESC LIMIT :n;

-- name: profiles.find
-- Return the profile of an identifier.
SELECT p.id, p.merged_into, p.traits, p.created_at, p.updated_at FROM identities i JOIN profiles p ON p.id = i.profile_id
WHERE i.workspace_id = :workspace_id AND i.kind = :kind AND i.value = :value;

-- name: profiles.stretch (sqlite)
-- Return profiles among the next :scan ones whose trait has one of two JSON values, newest first.
SELECT id, merged_into, traits, created_at, updated_at FROM (
    SELECT id, merged_into, traits, created_at, updated_at FROM profiles
    WHERE workspace_id = :workspace_id AND id < :before ORDER BY id DESC LIMIT :scan
) p WHERE merged_into IS NULL AND EXISTS (
    SELECT 1 FROM json_each(p.traits) t WHERE t.key = :trait AND t.value -> 0 IN (:text, :literal)
) ORDER BY id DESC LIMIT :n;

-- name: profiles.stretch (postgres)
-- Return profiles among the next :scan ones whose trait has one of two JSON values, newest first.
SELECT id, merged_into, traits, created_at, updated_at FROM (
    SELECT id, merged_into, traits, created_at, updated_at FROM profiles
    WHERE (workspace_id, id) < (:workspace_id, :before) AND (workspace_id, id) > (:workspace_id, 0)
    ORDER BY workspace_id DESC, id DESC LIMIT :scan
) p WHERE merged_into IS NULL AND (traits::json -> :trait -> 0)::text IN (:text, :literal) ORDER BY id DESC LIMIT :n;

-- name: profiles.stretch_end (sqlite)
-- Return the last id and the length of a stretch.
SELECT min(id), count(*) FROM (
    SELECT id FROM profiles WHERE workspace_id = :workspace_id AND id < :before ORDER BY id DESC LIMIT :scan
) p;

-- name: profiles.stretch_end (postgres)
-- By pairs: in the order of ids alone, PostgreSQL would search the rows of all workspaces for those of one.
SELECT min(id), count(*) FROM (
    SELECT id FROM profiles WHERE (workspace_id, id) < (:workspace_id, :before) AND (workspace_id, id) > (:workspace_id, 0)
    ORDER BY workspace_id DESC, id DESC LIMIT :scan
) p;

-- name: identities.prefix (sqlite)
-- Return profiles by the first characters of an identifier, in the order of the identifiers.
SELECT i.value, p.id, p.merged_into, p.traits, p.created_at, p.updated_at FROM identities i JOIN profiles p ON p.id = i.profile_id
WHERE i.workspace_id = :workspace_id AND i.kind = :kind AND i.value > :after AND i.value >= :first AND i.value < :last
ORDER BY i.value LIMIT :n;

-- name: identities.prefix (postgres)
-- Character by character, whatever the language of the database.
SELECT i.value, p.id, p.merged_into, p.traits, p.created_at, p.updated_at FROM identities i JOIN profiles p ON p.id = i.profile_id
WHERE i.workspace_id = :workspace_id AND i.kind = :kind AND i.value ~>~ :after AND i.value ~>=~ :first AND i.value ~<~ :last
ORDER BY i.value USING ~<~ LIMIT :n;

-- name: identities.of_many
-- Return the identifiers of a page of profiles; of each kind the latest claim first.
SELECT profile_id, kind, value FROM identities WHERE profile_id IN @list(ids bigint)
ORDER BY profile_id, kind, claimed_at DESC, value;

-- name: profiles.merged_into_many
-- Return the profiles that were merged into a page of profiles.
SELECT merged_into, id FROM profiles WHERE merged_into IN @list(ids bigint) ORDER BY merged_into, id;

-- name: profiles.many
-- Return profiles to which messages go; a merged one names the profile that it was merged into.
SELECT id, merged_into, traits FROM profiles WHERE workspace_id = :workspace_id AND id IN @list(ids bigint);
