-- Templates and their versions.

-- name: templates.add
INSERT INTO templates (id, workspace_id, name, channel, version, created_at, updated_at, deleted_at)
VALUES (:id, :workspace_id, :name, :channel, 1, :now, :now, NULL);

-- name: templates.add_version
INSERT INTO template_versions (template_id, version, content, created_at) VALUES (:id, :version, :content, :now);

-- name: templates.count
SELECT count(*) FROM templates WHERE workspace_id = :workspace_id AND deleted_at IS NULL;

-- name: templates.get
-- A template with its present version, or with another one that it had.
SELECT t.id, t.name, t.channel, v.version, t.version AS current_version, v.content, t.created_at, t.updated_at
FROM templates t JOIN template_versions v ON v.template_id = t.id
    AND v.version = CASE WHEN CAST(:version AS bigint) = 0 THEN t.version ELSE CAST(:version AS bigint) END
WHERE t.workspace_id = :workspace_id AND t.id = :id AND t.deleted_at IS NULL;

-- name: templates.current
-- The versions that some templates have now; asked before each use, so that a change holds at once.
SELECT id, version FROM templates WHERE workspace_id = :workspace_id AND id IN @list(ids bigint) AND deleted_at IS NULL;

-- name: templates.content
-- What has to be compiled. A version stays when its template is deleted: messages were made with it.
SELECT t.channel, v.content FROM templates t JOIN template_versions v ON v.template_id = t.id
WHERE t.workspace_id = :workspace_id AND t.id = :id AND v.version = :version;

-- name: templates.list
SELECT t.id, t.name, t.channel, v.version, t.version AS current_version, v.content, t.created_at, t.updated_at
FROM templates t JOIN template_versions v ON v.template_id = t.id AND v.version = t.version
WHERE t.workspace_id = :workspace_id AND t.id < :before AND t.deleted_at IS NULL ORDER BY t.id DESC LIMIT :n;

-- name: templates.change
UPDATE templates SET name = :name, version = :version, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND version = :was AND deleted_at IS NULL;

-- name: templates.delete
UPDATE templates SET deleted_at = :now, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;
