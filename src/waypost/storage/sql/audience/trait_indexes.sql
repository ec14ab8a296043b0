-- Indexes of traits. Values are written with the traits that they come from.

-- name: trait_indexes.kept
-- Return the indexes of a workspace that are kept up.
SELECT id, path FROM trait_indexes WHERE workspace_id = :workspace_id AND state <> 'dropped' ORDER BY id;

-- name: trait_indexes.complete
-- Return the indexes of a workspace that conditions may use.
SELECT path, id FROM trait_indexes WHERE workspace_id = :workspace_id AND state = 'complete';

-- name: trait_indexes.insert
-- Begin indexes.
INSERT INTO trait_indexes (id, workspace_id, path, state, filled_to, advanced_at) VALUES :rows;

-- name: trait_indexes.move
-- Change the state of an index; one that is dropped stays so.
UPDATE trait_indexes SET state = :state, filled_to = :filled_to, advanced_at = :now WHERE id = :id AND state <> 'dropped';

-- name: trait_indexes.any_unfinished
-- Return whether an index is to be filled or emptied.
SELECT id FROM trait_indexes WHERE state <> 'complete' LIMIT 1;

-- name: trait_indexes.unfinished (sqlite)
-- Return an index that is to be filled or emptied.
SELECT id, workspace_id, path, state, filled_to FROM trait_indexes WHERE state <> 'complete' ORDER BY id LIMIT 1;

-- name: trait_indexes.unfinished (postgres)
-- Claim one; another process takes another one.
SELECT id, workspace_id, path, state, filled_to FROM trait_indexes WHERE state <> 'complete' ORDER BY id LIMIT 1
FOR UPDATE SKIP LOCKED;

-- name: trait_indexes.delete
-- Delete an index that is empty.
DELETE FROM trait_indexes WHERE id = :id AND state = 'dropped';

-- name: trait_values.set
-- Record the values of profiles.
INSERT INTO trait_values (index_id, profile_id, value, number) VALUES :rows
ON CONFLICT (index_id, profile_id) DO UPDATE SET value = excluded.value, number = excluded.number
WHERE trait_values.value IS DISTINCT FROM excluded.value OR trait_values.number IS DISTINCT FROM excluded.number;

-- name: trait_values.delete (sqlite)
-- Delete the values of profiles that have none any more.
DELETE FROM trait_values WHERE (index_id, profile_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:rows));

-- name: trait_values.delete (postgres)
-- Delete the values of profiles that have none any more.
DELETE FROM trait_values v USING json_array_elements(:rows::json) r
WHERE v.index_id = (r ->> 0)::bigint AND v.profile_id = (r ->> 1)::bigint;

-- name: trait_values.clear
-- Delete some values of an index that was dropped.
DELETE FROM trait_values WHERE index_id = :id AND profile_id IN (
    SELECT profile_id FROM trait_values WHERE index_id = :id ORDER BY profile_id LIMIT :n
);
