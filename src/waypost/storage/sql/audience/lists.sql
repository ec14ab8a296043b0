-- Lists, their members, confirmations, and tags.

-- name: lists.insert
-- Create a list.
INSERT INTO lists (id, workspace_id, name, double_opt_in, template_id, created_at, updated_at) VALUES :rows;

-- name: lists.get
-- Return a list.
SELECT id, name, double_opt_in, template_id, created_at, updated_at FROM lists
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: lists.page
-- Return a page of the lists of a workspace, newest first.
SELECT id, name, double_opt_in, template_id, created_at, updated_at FROM lists
WHERE workspace_id = :workspace_id AND id < :before AND deleted_at IS NULL ORDER BY id DESC LIMIT :n;

-- name: lists.count
-- Return how many lists a workspace has.
SELECT count(*) FROM lists WHERE workspace_id = :workspace_id AND deleted_at IS NULL;

-- name: lists.update
-- Change a list.
UPDATE lists SET name = :name, double_opt_in = :double_opt_in, template_id = :template_id, updated_at = :now WHERE id = :id;

-- name: lists.delete
-- Mark a list as deleted; a job deletes its members.
UPDATE lists SET deleted_at = :now, updated_at = :now WHERE id = :id;

-- name: lists.workspace
-- Return the workspace of a list, also of a deleted one.
SELECT workspace_id FROM lists WHERE id = :id;

-- name: lists.deleted
-- Return the deleted lists that still have members.
SELECT id FROM lists WHERE deleted_at IS NOT NULL
    AND EXISTS (SELECT 1 FROM list_members m WHERE m.list_id = lists.id) ORDER BY id LIMIT 10;

-- name: list_counts.add
-- Count changes of the states of members.
INSERT INTO list_counts (list_id, state, node, n) VALUES :rows
ON CONFLICT (list_id, state, node) DO UPDATE SET n = list_counts.n + excluded.n;

-- name: list_counts.of_many
-- Return how many members of lists have which state.
SELECT list_id, state, CAST(sum(n) AS bigint) FROM list_counts WHERE list_id IN @list(ids bigint) GROUP BY list_id, state;

-- name: list_members.states (sqlite)
-- Return the states of members: [list, profile]. One row of JSON, as in events.known.
SELECT json_group_array(json_array(m.list_id, m.profile_id, m.state)) FROM json_each(:keys) k CROSS JOIN list_members m
WHERE m.list_id = k.value ->> 0 AND m.profile_id = k.value ->> 1;

-- name: list_members.states (postgres)
-- Lock them in the order of their keys, so that two transactions cannot deadlock.
SELECT coalesce(json_agg(json_build_array(m.list_id, m.profile_id, m.state)), '[]')::text
FROM json_array_elements(:keys::json) k CROSS JOIN LATERAL (
    SELECT * FROM list_members WHERE list_id = (k ->> 0)::bigint AND profile_id = (k ->> 1)::bigint FOR UPDATE
) m;

-- name: list_members.insert
-- Record new members. When another transaction has just recorded one, the unit is run again.
INSERT INTO list_members (list_id, profile_id, state, source, changed_at) VALUES :rows;

-- name: list_members.update
-- Change the states of members. An upsert, because that is the one bulk statement that both databases share.
INSERT INTO list_members (list_id, profile_id, state, source, changed_at) VALUES :rows
ON CONFLICT (list_id, profile_id) DO UPDATE SET state = excluded.state, source = excluded.source, changed_at = excluded.changed_at;

-- name: list_members.page
-- Return a page of the members of a list, in the order of their profiles.
SELECT profile_id, state, source, changed_at FROM list_members
WHERE list_id = :list_id AND profile_id > :after ORDER BY profile_id LIMIT :n;

-- name: list_members.subscribed
-- Return a page of the subscribed members of a list: most members are.
SELECT profile_id, state, source, changed_at FROM list_members
WHERE list_id = :list_id AND profile_id > :after AND state = 'subscribed' ORDER BY profile_id LIMIT :n;

-- name: list_members.in_state
-- Return a page of the members of a list in another state than subscribed.
SELECT profile_id, state, source, changed_at FROM list_members
WHERE list_id = :list_id AND state = :state AND state <> 'subscribed' AND profile_id > :after ORDER BY profile_id LIMIT :n;

-- name: list_members.of_profiles
-- Return the memberships of profiles.
SELECT m.profile_id, m.list_id, l.name, m.state, m.source, m.changed_at FROM list_members m JOIN lists l ON l.id = m.list_id
WHERE m.profile_id IN @list(ids bigint) AND l.deleted_at IS NULL ORDER BY m.profile_id, m.list_id;

-- name: list_members.of_merged
-- Return the memberships of profiles that were merged, and of those that they were merged into.
SELECT list_id, profile_id, state, source, changed_at FROM list_members WHERE profile_id IN @list(ids bigint) ORDER BY list_id, profile_id;

-- name: list_members.delete_merged
-- Delete the memberships of merged profiles.
DELETE FROM list_members WHERE profile_id IN @list(ids bigint);

-- name: lists.workspaces
-- Return the workspaces of lists.
SELECT id, workspace_id FROM lists WHERE id IN @list(ids bigint);

-- name: tags.of_merged
-- Return the tags of profiles that were merged, and of those that they were merged into.
SELECT workspace_id, tag, profile_id, created_at FROM profile_tags WHERE profile_id IN @list(ids bigint) ORDER BY tag, profile_id;

-- name: tags.delete_merged
-- Delete the tags of merged profiles.
DELETE FROM profile_tags WHERE profile_id IN @list(ids bigint);

-- name: tags.inherit
-- Give tags to the profiles that others were merged into.
INSERT INTO profile_tags (workspace_id, tag, profile_id, created_at) VALUES :rows ON CONFLICT (workspace_id, tag, profile_id) DO NOTHING;

-- name: list_members.oldest
-- Return some members of a deleted list.
SELECT profile_id FROM list_members WHERE list_id = :list_id ORDER BY profile_id LIMIT :n;

-- name: list_counts.delete
-- Delete the counts of a deleted list without members.
DELETE FROM list_counts WHERE list_id = :list_id;

-- name: list_members.delete
-- Remove members from a list.
DELETE FROM list_members WHERE list_id = :list_id AND profile_id IN @list(ids bigint);

-- name: list_confirmations.add
-- Ask members by mail; who was asked before is asked again.
INSERT INTO list_confirmations (list_id, profile_id, workspace_id, due_at, token, created_at) VALUES :rows
ON CONFLICT (list_id, profile_id) DO UPDATE SET due_at = excluded.due_at, token = excluded.token, created_at = excluded.created_at;

-- name: list_confirmations.any_due
-- Return whether a mail is due.
SELECT 1 FROM list_confirmations WHERE due_at <= :now LIMIT 1;

-- name: list_confirmations.due (sqlite)
-- Return confirmations whose mails are due, with their lists.
SELECT c.list_id, c.profile_id, c.workspace_id, c.token, c.created_at, l.name, l.template_id FROM (
    SELECT * FROM list_confirmations WHERE due_at <= :now ORDER BY due_at, list_id, profile_id LIMIT :n
) c CROSS JOIN lists l WHERE l.id = c.list_id;

-- name: list_confirmations.due (postgres)
-- Several processes may run this at once; each skips the rows that another one locks.
SELECT c.list_id, c.profile_id, c.workspace_id, c.token, c.created_at, l.name, l.template_id FROM (
    SELECT * FROM list_confirmations WHERE due_at <= :now ORDER BY due_at, list_id, profile_id LIMIT :n FOR UPDATE SKIP LOCKED
) c JOIN lists l ON l.id = c.list_id;

-- name: list_confirmations.lease
-- Set when mails are due; null for mails that were handed in.
UPDATE list_confirmations SET due_at = :due_at WHERE list_id = :list_id AND profile_id IN @list(ids bigint);

-- name: list_confirmations.find
-- Return the member of a link.
SELECT c.workspace_id, c.list_id, c.profile_id, m.state FROM list_confirmations c
JOIN list_members m ON m.list_id = c.list_id AND m.profile_id = c.profile_id WHERE c.token = :token AND c.created_at >= :since;

-- name: list_confirmations.prune
-- Delete confirmations whose links are not valid any more.
DELETE FROM list_confirmations WHERE created_at < :before;

-- name: list_confirmations.delete
-- Forget that members of a list were asked.
DELETE FROM list_confirmations WHERE list_id = :list_id AND profile_id IN @list(ids bigint);

-- name: tags.known (sqlite)
-- Return which tags profiles have: [workspace, tag, profile]. One row of JSON, as in events.known.
SELECT json_group_array(json_array(t.workspace_id, t.tag, t.profile_id)) FROM json_each(:keys) k CROSS JOIN profile_tags t
WHERE t.workspace_id = k.value ->> 0 AND t.tag = k.value ->> 1 AND t.profile_id = k.value ->> 2;

-- name: tags.known (postgres)
-- Return which tags profiles have. One look-up by the primary key per tag.
SELECT coalesce(json_agg(json_build_array(t.workspace_id, t.tag, t.profile_id)), '[]')::text
FROM json_array_elements(:keys::json) k CROSS JOIN LATERAL (
    SELECT * FROM profile_tags WHERE workspace_id = (k ->> 0)::bigint AND tag = k ->> 1 AND profile_id = (k ->> 2)::bigint OFFSET 0
) t;

-- name: tags.insert
-- Tag profiles. When another transaction has just done it, the unit is run again.
INSERT INTO profile_tags (workspace_id, tag, profile_id, created_at) VALUES :rows;

-- name: tags.delete
-- Remove a tag from a profile.
DELETE FROM profile_tags WHERE workspace_id = :workspace_id AND tag = :tag AND profile_id = :profile_id;

-- name: tags.of_profiles
-- Return the tags of profiles.
SELECT profile_id, tag FROM profile_tags WHERE profile_id IN @list(ids bigint) ORDER BY profile_id, tag;

-- name: tag_counts.add
-- Count changes of tags.
INSERT INTO tag_counts (workspace_id, tag, node, n) VALUES :rows
ON CONFLICT (workspace_id, tag, node) DO UPDATE SET n = tag_counts.n + excluded.n;

-- name: tag_counts.page
-- Return a page of the tags of a workspace with how many profiles have each.
SELECT tag, CAST(sum(n) AS bigint) FROM tag_counts WHERE workspace_id = :workspace_id AND tag > :after
GROUP BY tag HAVING sum(n) > 0 ORDER BY tag LIMIT :n;
