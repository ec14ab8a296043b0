-- name: connectors.get
SELECT definition, created_at, updated_at FROM connectors WHERE workspace_id = :workspace_id AND name = :name;

-- name: connectors.list
SELECT name, definition, created_at, updated_at FROM connectors WHERE workspace_id = :workspace_id ORDER BY name;

-- name: connectors.count
SELECT count(*) FROM connectors WHERE workspace_id = :workspace_id;

-- name: connectors.put
-- A definition, in place of the one before it.
INSERT INTO connectors (workspace_id, name, definition, created_at, updated_at)
VALUES (:workspace_id, :name, :definition, :now, :now)
ON CONFLICT (workspace_id, name) DO UPDATE SET definition = excluded.definition, updated_at = excluded.updated_at;

-- name: connectors.delete
DELETE FROM connectors WHERE workspace_id = :workspace_id AND name = :name;

-- name: connectors.connections
-- How many connections are made with it, by channel.
SELECT channel, count(*) FROM connections
WHERE workspace_id = :workspace_id AND connector = :name AND deleted_at IS NULL GROUP BY channel;

-- name: connectors.touch_connections
-- What they are sent with changed.
UPDATE connections SET version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND connector = :name AND deleted_at IS NULL;
