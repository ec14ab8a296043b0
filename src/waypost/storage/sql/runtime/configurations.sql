-- Versions of configurations, by which processes know what to reload.

-- name: configurations.versions
-- Return the configuration versions of an area in workspaces; read once per batch.
SELECT w.id, coalesce(c.version, 0) FROM workspaces w
LEFT JOIN configurations c ON c.workspace_id = w.id AND c.area = :area WHERE w.id IN @list(ids bigint);

-- name: configurations.all
-- Return the configuration versions of an area in all workspaces.
SELECT w.id, coalesce(c.version, 0) FROM workspaces w
LEFT JOIN configurations c ON c.workspace_id = w.id AND c.area = :area ORDER BY w.id;

-- name: configurations.touch
-- Raise the configuration version of an area.
INSERT INTO configurations (workspace_id, area, version) VALUES (:workspace_id, :area, 1)
ON CONFLICT (workspace_id, area) DO UPDATE SET version = configurations.version + 1;
