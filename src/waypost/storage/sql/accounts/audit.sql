-- The audit log. Nothing changes or deletes its rows.

-- name: audit.add
-- Record a change.
INSERT INTO audit_log (id, workspace_id, actor_kind, actor_id, actor_name, action, resource, before, after, ip)
VALUES (:id, :workspace_id, :actor_kind, :actor_id, :actor_name, :action, :resource, :before, :after, :ip);

-- name: audit.list
-- Return a page of changes, newest first.
SELECT id, actor_kind, actor_id, actor_name, action, resource, before, after, ip FROM audit_log
WHERE workspace_id = :workspace_id AND id < :before_id AND id >= :since
    AND (:actor_id = 0 OR actor_id = :actor_id) AND (:action = '' OR action = :action)
    AND (:q = '' OR resource LIKE :q ESCAPE '\' OR actor_name LIKE :q ESCAPE '\' OR action LIKE :q ESCAPE '\'
        OR before LIKE :q ESCAPE '\' OR after LIKE :q ESCAPE '\')
ORDER BY id DESC LIMIT :n;

-- name: audit.follow
-- Record what became of something, as a change by who started it; nothing if the log does not have its start.
INSERT INTO audit_log (id, workspace_id, actor_kind, actor_id, actor_name, action, resource, before, after, ip)
SELECT :id, workspace_id, actor_kind, actor_id, actor_name, :action, resource, NULL, :after, ip FROM audit_log
WHERE workspace_id = :workspace_id AND id > :started AND action = :start AND resource = :resource
ORDER BY id LIMIT 1;
