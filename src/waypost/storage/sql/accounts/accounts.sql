-- Workspaces and API keys.

-- name: workspaces.add
-- Create a workspace.
INSERT INTO workspaces (id, name, created_at) VALUES (:id, :name, :now);

-- name: workspaces.list
-- Return all workspaces.
SELECT id, name, created_at FROM workspaces WHERE deleted_at IS NULL ORDER BY id;

-- name: workspaces.get
-- Return the settings of a workspace.
SELECT name, mfa, time_zone, event_days, attempt_days, created_at FROM workspaces WHERE id = :id AND deleted_at IS NULL;

-- name: workspaces.change
-- Change the settings of a workspace.
UPDATE workspaces SET name = :name, mfa = :mfa, event_days = :event_days, attempt_days = :attempt_days WHERE id = :id AND deleted_at IS NULL;

-- name: workspaces.set_time_zone
-- Change the time zone of a workspace.
UPDATE workspaces SET time_zone = :time_zone WHERE id = :id AND deleted_at IS NULL;

-- name: workspaces.retention
-- Return for how many days the workspaces that say so keep events and attempts.
SELECT id, event_days, attempt_days FROM workspaces
WHERE (event_days IS NOT NULL OR attempt_days IS NOT NULL) AND deleted_at IS NULL;

-- name: workspaces.lock
-- Lock a workspace until the transaction ends.
UPDATE workspaces SET name = name WHERE id = :id;

-- name: workspaces.next_id
-- Return the next free id. Workspaces are few, and small ids keep all other rows small.
SELECT coalesce(max(id), 0) + 1 FROM workspaces;

-- name: keys.add
-- Create an API key; only its digest is stored.
INSERT INTO keys (id, workspace_id, name, scopes, hash, hint, created_at, expires_at)
VALUES (:id, :workspace_id, :name, :scopes, :hash, :hint, :now, :expires_at);

-- name: keys.get
-- Return one key.
SELECT id, name, scopes, hint, created_at, expires_at, last_used_at, last_used_ip FROM keys
WHERE workspace_id = :workspace_id AND id = :id;

-- name: keys.expire
-- Let a key end, unless it ends sooner.
UPDATE keys SET expires_at = :expires_at WHERE id = :id AND workspace_id = :workspace_id AND (expires_at IS NULL OR expires_at > :expires_at);

-- name: keys.find
-- Find the key with a digest, unless its workspace was deleted.
SELECT k.id, k.workspace_id, k.scopes, k.name, k.expires_at, k.last_used_at FROM keys k JOIN workspaces w ON w.id = k.workspace_id
WHERE k.hash = :hash AND w.deleted_at IS NULL;

-- name: keys.used
-- Note when and from where a key was last used.
UPDATE keys SET last_used_at = :at, last_used_ip = :ip WHERE id = :id AND coalesce(last_used_at, 0) < :at;

-- name: keys.list
-- Return a page of keys, newest first.
SELECT id, name, scopes, hint, created_at, expires_at, last_used_at, last_used_ip FROM keys
WHERE workspace_id = :workspace_id AND id < :before ORDER BY id DESC LIMIT :n;

-- name: keys.delete
-- Delete a key.
DELETE FROM keys WHERE workspace_id = :workspace_id AND id = :id;

-- name: keys.count_managers
-- Count the other keys that may manage the workspace: the last one cannot be deleted.
SELECT count(*) FROM keys WHERE workspace_id = :workspace_id AND id <> :id AND scopes LIKE '%"manage"%'
    AND (expires_at IS NULL OR expires_at > :now);
