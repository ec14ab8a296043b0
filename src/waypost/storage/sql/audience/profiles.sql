-- People and the identifiers that lead to them.

-- name: identities.find (sqlite)
-- Who the identifiers of a batch lead to. One row of JSON, as in events.known.
SELECT json_group_array(json_array(i.workspace_id, i.kind, i.value, i.profile_id, i.claimed_at))
FROM json_each(:wanted) w CROSS JOIN identities i
WHERE i.workspace_id = w.value ->> 0 AND i.kind = w.value ->> 1 AND i.value = w.value ->> 2;

-- name: identities.find (postgres)
-- One look-up by the primary key per identifier: a plain join may be planned as a walk over all identities.
SELECT coalesce(json_agg(json_build_array(i.workspace_id, i.kind, i.value, i.profile_id, i.claimed_at)), '[]')::text
FROM json_array_elements(:wanted::json) w CROSS JOIN LATERAL (
    SELECT * FROM identities WHERE workspace_id = (w ->> 0)::bigint AND kind = w ->> 1 AND value = w ->> 2 OFFSET 0
) i;

-- name: identities.moved (sqlite)
-- What identities.find says now that the profiles are locked; one writer at a time makes asking again needless.
SELECT NULL WHERE :wanted IS NULL;

-- name: identities.moved (postgres)
SELECT coalesce(json_agg(json_build_array(i.workspace_id, i.kind, i.value, i.profile_id, i.claimed_at)), '[]')::text
FROM json_array_elements(:wanted::json) w CROSS JOIN LATERAL (
    SELECT * FROM identities WHERE workspace_id = (w ->> 0)::bigint AND kind = w ->> 1 AND value = w ->> 2 OFFSET 0
) i;

-- name: identities.insert
INSERT INTO identities (workspace_id, kind, value, profile_id, claimed_at) VALUES :rows;

-- name: identities.reclaim
-- Identifiers that changed hands, or whose claim was renewed. The later claim stays, whoever writes last.
INSERT INTO identities (workspace_id, kind, value, profile_id, claimed_at) VALUES :rows
ON CONFLICT (workspace_id, kind, value) DO UPDATE SET profile_id = excluded.profile_id, claimed_at = excluded.claimed_at
WHERE excluded.claimed_at > identities.claimed_at;

-- name: identities.move
-- All identifiers of profiles that were merged into another.
UPDATE identities SET profile_id = (
    SELECT p.merged_into FROM profiles p WHERE p.id = identities.profile_id
) WHERE profile_id IN @list(ids bigint);

-- name: profiles.load (sqlite)
-- Profiles that may change, with whether a userId leads to them.
SELECT p.id, p.workspace_id, p.traits, p.created_at, p.merged_into, EXISTS (
    SELECT 1 FROM identities i WHERE i.profile_id = p.id AND i.kind = 'user_id'
) FROM profiles p WHERE p.id IN @list(ids bigint);

-- name: profiles.load (postgres)
-- Locked in the order of their ids, so that two processes cannot wait for each other.
SELECT p.id, p.workspace_id, p.traits, p.created_at, p.merged_into, EXISTS (
    SELECT 1 FROM identities i WHERE i.profile_id = p.id AND i.kind = 'user_id'
) FROM profiles p WHERE p.id IN @list(ids bigint) ORDER BY p.id FOR UPDATE OF p;

-- name: profiles.insert
INSERT INTO profiles (id, workspace_id, merged_into, traits, created_at, updated_at) VALUES :rows;

-- name: profiles.update
-- Written as an upsert, since that is the one bulk statement both databases share; the rows are always there.
INSERT INTO profiles (id, workspace_id, merged_into, traits, created_at, updated_at) VALUES :rows
ON CONFLICT (id) DO UPDATE SET merged_into = excluded.merged_into, traits = excluded.traits,
    created_at = excluded.created_at, updated_at = excluded.updated_at;

-- name: profiles.follow
-- Profiles that had been merged into one that is now merged itself.
UPDATE profiles SET merged_into = (
    SELECT p.merged_into FROM profiles p WHERE p.id = profiles.merged_into
) WHERE merged_into IN @list(ids bigint);

-- name: profiles.get
SELECT id, merged_into, traits, created_at, updated_at FROM profiles WHERE workspace_id = :workspace_id AND id = :id;

-- name: profiles.list
SELECT id, merged_into, traits, created_at, updated_at FROM profiles
WHERE workspace_id = :workspace_id AND id < :before AND merged_into IS NULL ORDER BY id DESC LIMIT :n;

-- name: profiles.find
SELECT p.id, p.merged_into, p.traits, p.created_at, p.updated_at FROM identities i JOIN profiles p ON p.id = i.profile_id
WHERE i.workspace_id = :workspace_id AND i.kind = :kind AND i.value = :value;

-- name: identities.of_many
-- The identifiers of a page of profiles; of each kind the one that was claimed last comes first.
SELECT profile_id, kind, value FROM identities WHERE profile_id IN @list(ids bigint)
ORDER BY profile_id, kind, claimed_at DESC, value;

-- name: profiles.merged_into_many
SELECT merged_into, id FROM profiles WHERE merged_into IN @list(ids bigint) ORDER BY merged_into, id;
