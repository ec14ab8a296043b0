-- Templates and their versions.

-- name: templates.add
-- Create a template.
INSERT INTO templates (id, workspace_id, name, channel, version, created_at, updated_at, deleted_at)
VALUES (:id, :workspace_id, :name, :channel, 1, :now, :now, NULL);

-- name: templates.add_version
-- Store a version of a template.
INSERT INTO template_versions (template_id, version, content, created_at) VALUES (:id, :version, :content, :now);

-- name: templates.count
-- Count the templates of a workspace.
SELECT count(*) FROM templates WHERE workspace_id = :workspace_id AND deleted_at IS NULL;

-- name: templates.get
-- Return a template in its present version, or in the given one.
SELECT t.id, t.name, t.channel, v.version, t.version AS current_version, v.content, t.created_at, t.updated_at
FROM templates t JOIN template_versions v ON v.template_id = t.id
    AND v.version = CASE WHEN CAST(:version AS bigint) = 0 THEN t.version ELSE CAST(:version AS bigint) END
WHERE t.workspace_id = :workspace_id AND t.id = :id AND t.deleted_at IS NULL;

-- name: templates.current
-- Return the present versions of templates; read before each use, so that a change applies at once.
SELECT id, version FROM templates WHERE workspace_id = :workspace_id AND id IN @list(ids bigint) AND deleted_at IS NULL;

-- name: templates.content
-- Return the content of a version. It stays when its template is deleted, because messages use it.
SELECT t.channel, v.content FROM templates t JOIN template_versions v ON v.template_id = t.id
WHERE t.workspace_id = :workspace_id AND t.id = :id AND v.version = :version;

-- name: templates.list
-- Return a page of templates, newest first.
SELECT t.id, t.name, t.channel, v.version, t.version AS current_version, v.content, t.created_at, t.updated_at
FROM templates t JOIN template_versions v ON v.template_id = t.id AND v.version = t.version
WHERE t.workspace_id = :workspace_id AND t.id < :before AND t.deleted_at IS NULL ORDER BY t.id DESC LIMIT :n;

-- name: templates.change
-- Change the name and the present version of a template.
UPDATE templates SET name = :name, version = :version, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND version = :was AND deleted_at IS NULL;

-- name: templates.delete
-- Delete a template; its versions stay.
UPDATE templates SET deleted_at = :now, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;
