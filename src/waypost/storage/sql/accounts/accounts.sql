-- Workspaces, keys and the processes at work.

-- name: workspaces.add
INSERT INTO workspaces (id, name, created_at) VALUES (:id, :name, :now);

-- name: workspaces.list
SELECT id, name, created_at FROM workspaces ORDER BY id;

-- name: workspaces.get
SELECT name FROM workspaces WHERE id = :id;

-- name: workspaces.next_id
-- Workspaces are few: small numbers keep the rows of everything else small.
SELECT coalesce(max(id), 0) + 1 FROM workspaces;

-- name: keys.add
INSERT INTO keys (id, workspace_id, name, scopes, hash, hint, created_at)
VALUES (:id, :workspace_id, :name, :scopes, :hash, :hint, :now);

-- name: keys.find
-- Who holds a key, by its digest.
SELECT id, workspace_id, scopes FROM keys WHERE hash = :hash;

-- name: keys.list
SELECT id, name, scopes, hint, created_at FROM keys
WHERE workspace_id = :workspace_id AND id < :before ORDER BY id DESC LIMIT :n;

-- name: keys.delete
DELETE FROM keys WHERE workspace_id = :workspace_id AND id = :id;

-- name: keys.count_managers
-- How many keys besides this one may manage the workspace: the last one cannot be deleted.
SELECT count(*) FROM keys WHERE workspace_id = :workspace_id AND id <> :id AND scopes LIKE '%"manage"%';

-- name: clock.now
-- The database's own clock.
SELECT @now;

-- name: nodes.list
-- Here and below, the times are those of the database's clock: processes on several machines compare them.
SELECT id, token, @now - seen_at AS unseen FROM nodes ORDER BY id;

-- name: nodes.add
INSERT INTO nodes (id, token, host, sends, started_at, seen_at) VALUES (:id, :token, :host, :sends, @now, @now);

-- name: nodes.seen
-- This process is alive. Changes nothing when it was declared dead meanwhile.
UPDATE nodes SET seen_at = @now WHERE id = :id AND token = :token;

-- name: nodes.remove
DELETE FROM nodes WHERE id = :id AND token = :token;

-- name: nodes.dead
-- Processes that nobody has seen for so long.
SELECT id FROM nodes WHERE seen_at < @now - CAST(:unseen AS bigint);

-- name: nodes.live
-- How many processes share the limits of the endpoints.
SELECT count(*) FROM nodes WHERE seen_at >= @now - CAST(:within AS bigint) AND sends = 1;

-- name: nodes.evict
-- Those that are dead at this moment: one that was seen since it was looked for stays.
DELETE FROM nodes WHERE seen_at < @now - CAST(:unseen AS bigint) RETURNING id;

-- name: nodes.clear
-- At the start of the only process on this database.
DELETE FROM nodes;

-- name: idempotency.get
SELECT request_hash, status, response, created_at FROM idempotency WHERE workspace_id = :workspace_id AND key = :key;

-- name: idempotency.add
INSERT INTO idempotency (workspace_id, key, request_hash, status, response, created_at)
VALUES (:workspace_id, :key, :request_hash, :status, :response, :now);

-- name: idempotency.finish
-- The answer of a request that was in progress since then.
UPDATE idempotency SET status = :status, response = :response
WHERE workspace_id = :workspace_id AND key = :key AND status = 0 AND created_at = :since;

-- name: idempotency.release
-- A request is no longer in progress, and has no answer.
DELETE FROM idempotency WHERE workspace_id = :workspace_id AND key = :key AND status = 0 AND created_at = :since;

-- name: idempotency.prune
DELETE FROM idempotency WHERE (workspace_id, key) IN (
    SELECT workspace_id, key FROM idempotency WHERE created_at < :before ORDER BY created_at LIMIT :n
);
