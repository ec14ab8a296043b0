-- Connectors that workspaces added.

-- name: connectors.get
-- Return a workspace's own connector.
SELECT definition, created_at, updated_at FROM connectors WHERE workspace_id = :workspace_id AND name = :name;

-- name: connectors.list
-- Return a workspace's own connectors by name.
SELECT name, definition, created_at, updated_at FROM connectors WHERE workspace_id = :workspace_id ORDER BY name;

-- name: connectors.count
-- Count a workspace's own connectors.
SELECT count(*) FROM connectors WHERE workspace_id = :workspace_id;

-- name: connectors.put
-- Add a definition, or replace it.
INSERT INTO connectors (workspace_id, name, definition, created_at, updated_at)
VALUES (:workspace_id, :name, :definition, :now, :now)
ON CONFLICT (workspace_id, name) DO UPDATE SET definition = excluded.definition, updated_at = excluded.updated_at;

-- name: connectors.delete
-- Delete a definition.
DELETE FROM connectors WHERE workspace_id = :workspace_id AND name = :name;

-- name: connectors.connections
-- Count the connections of a connector by channel.
SELECT channel, count(*) FROM connections
WHERE workspace_id = :workspace_id AND connector = :name AND deleted_at IS NULL GROUP BY channel;

-- name: connectors.touch_connections
-- Raise the version of a connector's connections, so that processes reload them.
UPDATE connections SET version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND connector = :name AND deleted_at IS NULL;
