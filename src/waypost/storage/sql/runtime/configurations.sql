-- Versions of configurations, by which processes know what to read again.

-- name: configurations.versions
-- The versions of one area's configuration in some workspaces; asked once per batch.
SELECT w.id, coalesce(c.version, 0) FROM workspaces w
LEFT JOIN configurations c ON c.workspace_id = w.id AND c.area = :area WHERE w.id IN @list(ids bigint);

-- name: configurations.all
-- The same in every workspace.
SELECT w.id, coalesce(c.version, 0) FROM workspaces w
LEFT JOIN configurations c ON c.workspace_id = w.id AND c.area = :area ORDER BY w.id;

-- name: configurations.touch
-- The configuration of an area changed.
INSERT INTO configurations (workspace_id, area, version) VALUES (:workspace_id, :area, 1)
ON CONFLICT (workspace_id, area) DO UPDATE SET version = configurations.version + 1;
