-- Payload formats that users write.

-- name: payload_formats.add
-- Create a format.
INSERT INTO payload_formats (id, workspace_id, name, source, version, created_at, updated_at, deleted_at)
VALUES (:id, :workspace_id, :name, :source, 1, :now, :now, NULL);

-- name: payload_formats.count
-- Count the formats of a workspace.
SELECT count(*) FROM payload_formats WHERE workspace_id = :workspace_id AND deleted_at IS NULL;

-- name: payload_formats.get
-- Return a format.
SELECT id, name, source, version, created_at, updated_at FROM payload_formats
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: payload_formats.list
-- Return a page of formats, newest first.
SELECT id, name, source, version, created_at, updated_at FROM payload_formats
WHERE workspace_id = :workspace_id AND id < :before AND deleted_at IS NULL ORDER BY id DESC LIMIT :n;

-- name: payload_formats.of_workspaces
-- Return the sources of all formats of workspaces.
SELECT id, workspace_id, source FROM payload_formats WHERE workspace_id IN @list(ids bigint) AND deleted_at IS NULL;

-- name: payload_formats.hold
-- Keep a format from being deleted until the transaction ends; the number of rows says whether it exists.
UPDATE payload_formats SET updated_at = updated_at
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: payload_formats.change
-- Change the name and the source of a format.
UPDATE payload_formats SET name = :name, source = :source, version = :version, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: payload_formats.delete
-- Delete a format; ids are never used again.
UPDATE payload_formats SET deleted_at = :now, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: payload_formats.users
-- Return the endpoints that use a format.
SELECT id, event_types FROM endpoints WHERE workspace_id = :workspace_id AND format = :format AND deleted_at IS NULL ORDER BY id;

-- name: payload_formats.renew_endpoints
-- Raise the version of the endpoints that use a format, so that every process loads them with the new one.
UPDATE endpoints SET version = version + 1, updated_at = :now
WHERE workspace_id = :workspace_id AND format = :format AND deleted_at IS NULL;
