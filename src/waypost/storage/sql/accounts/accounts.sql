-- Workspaces and API keys.

-- name: workspaces.add
-- Create a workspace.
INSERT INTO workspaces (id, name, created_at) VALUES (:id, :name, :now);

-- name: workspaces.list
-- Return all workspaces.
SELECT id, name, created_at FROM workspaces ORDER BY id;

-- name: workspaces.get
-- Return the name of a workspace.
SELECT name FROM workspaces WHERE id = :id;

-- name: workspaces.next_id
-- Return the next free id. Workspaces are few, and small ids keep all other rows small.
SELECT coalesce(max(id), 0) + 1 FROM workspaces;

-- name: keys.add
-- Create an API key; only its digest is stored.
INSERT INTO keys (id, workspace_id, name, scopes, hash, hint, created_at)
VALUES (:id, :workspace_id, :name, :scopes, :hash, :hint, :now);

-- name: keys.find
-- Find the key with a digest.
SELECT id, workspace_id, scopes FROM keys WHERE hash = :hash;

-- name: keys.name
-- Return the name of a key.
SELECT name FROM keys WHERE id = :id;

-- name: keys.list
-- Return a page of keys, newest first.
SELECT id, name, scopes, hint, created_at FROM keys
WHERE workspace_id = :workspace_id AND id < :before ORDER BY id DESC LIMIT :n;

-- name: keys.delete
-- Delete a key.
DELETE FROM keys WHERE workspace_id = :workspace_id AND id = :id;

-- name: keys.count_managers
-- Count the other keys that may manage the workspace: the last one cannot be deleted.
SELECT count(*) FROM keys WHERE workspace_id = :workspace_id AND id <> :id AND scopes LIKE '%"manage"%';
