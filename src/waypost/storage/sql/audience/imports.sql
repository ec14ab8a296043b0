-- Imports: the files in chunks, their progress and their errors.

-- name: imports.insert
-- Create an import, whose file comes in.
INSERT INTO imports (id, workspace_id, state, plan, list_id, source, dry_run, bytes, position, row_number, rows, imported, rejected,
    created, unbalanced, created_at, updated_at)
VALUES :rows;

-- name: imports.begin
-- The file is complete: the import may run.
UPDATE imports SET state = 'running', plan = :plan, bytes = :bytes, position = :position, row_number = :row_number, updated_at = :now
WHERE id = :id AND state = 'receiving';

-- name: imports.get
-- Return an import.
SELECT id, state, plan, list_id, source, dry_run, bytes, position, rows, imported, rejected, created, reason, detail, created_at,
    updated_at, ended_at
FROM imports WHERE workspace_id = :workspace_id AND id = :id AND state <> 'receiving';

-- name: imports.page
-- Return a page of the imports of a workspace, newest first.
SELECT id, state, plan, list_id, source, dry_run, bytes, position, rows, imported, rejected, created, reason, detail, created_at,
    updated_at, ended_at
FROM imports WHERE workspace_id = :workspace_id AND id < :before AND state <> 'receiving' ORDER BY id DESC LIMIT :n;

-- name: imports.free
-- Return the oldest imports that run and that no other node reads.
SELECT id FROM imports WHERE state = 'running' AND (node IS NULL OR node = :node) ORDER BY id LIMIT 100;

-- name: imports.claim
-- Let a node read an import.
UPDATE imports SET node = :node WHERE id = :id AND state = 'running' AND (node IS NULL OR node = :node);

-- name: imports.claimed
-- Return the import that a node reads.
SELECT id, workspace_id, plan, list_id, source, dry_run, bytes, position, row_number, unbalanced, created_at FROM imports
WHERE id = :id AND node = :node AND state = 'running';

-- name: imports.advance
-- Record progress, unless another process was faster or the import was cancelled.
UPDATE imports SET position = :position, row_number = :row_number, rows = rows + :rows, imported = imported + :imported,
    rejected = rejected + :rejected, created = created + :created, unbalanced = unbalanced + :unbalanced, updated_at = :now
WHERE id = :id AND state = 'running' AND position = :before AND node = :node;

-- name: imports.end
-- End an import.
UPDATE imports SET state = :state, reason = :reason, detail = :detail, node = NULL, updated_at = :now, ended_at = :now
WHERE id = :id AND state = 'running';

-- name: imports.totals
-- Return what became of the rows of an import.
SELECT workspace_id, rows, imported, rejected, created, list_id, source, dry_run FROM imports WHERE id = :id;

-- name: imports.orphan
-- Free the imports that these nodes read.
UPDATE imports SET node = NULL WHERE state = 'running' AND node IN @list(nodes bigint);

-- name: imports.orphan_all
-- Free all imports: this process starts, and no other one runs.
UPDATE imports SET node = NULL WHERE state = 'running';

-- name: imports.delete
-- Delete an import whose file did not arrive.
DELETE FROM imports WHERE id = :id AND state = 'receiving';

-- name: imports.abandoned
-- Return imports whose file has stopped coming in.
SELECT id FROM imports WHERE state = 'receiving' AND updated_at < :before ORDER BY id LIMIT 10;

-- name: imports.oldest
-- Return ended imports that are past their retention.
SELECT id FROM imports WHERE id < :before AND state IN ('done', 'failed', 'cancelled') ORDER BY id LIMIT 10;

-- name: imports.oldest_of_workspace (sqlite)
-- Return ended imports of a workspace that are past their retention.
SELECT id FROM imports
WHERE workspace_id = :workspace_id AND id < :before AND state IN ('done', 'failed', 'cancelled') ORDER BY id LIMIT 10;

-- name: imports.oldest_of_workspace (postgres)
-- By pairs, as for messages.
SELECT id FROM imports WHERE (workspace_id, id) > (:workspace_id, 0) AND (workspace_id, id) < (:workspace_id, :before)
    AND state IN ('done', 'failed', 'cancelled') ORDER BY workspace_id, id LIMIT 10;

-- name: imports.delete_ended
-- Delete an import whose rejected rows are deleted.
DELETE FROM imports WHERE id = :id AND NOT EXISTS (SELECT 1 FROM import_errors e WHERE e.import_id = imports.id);

-- name: import_errors.delete
-- Delete some of the rejected rows of an import.
DELETE FROM import_errors WHERE import_id = :import_id AND row_number IN (
    SELECT row_number FROM import_errors WHERE import_id = :import_id ORDER BY row_number LIMIT :n
);

-- name: import_chunks.add
-- Store chunks of a file.
INSERT INTO import_chunks (import_id, position, content) VALUES :rows;

-- name: imports.received
-- Note that more of a file has come in.
UPDATE imports SET bytes = :bytes, updated_at = :now WHERE id = :id AND state = 'receiving';

-- name: import_chunks.at
-- Return the chunk with this position and the one after it.
SELECT position, content FROM import_chunks WHERE import_id = :import_id AND position >= (
    SELECT max(position) FROM import_chunks WHERE import_id = :import_id AND position <= :position
) ORDER BY position LIMIT 2;

-- name: import_chunks.delete
-- Delete some chunks of a file that was read, oldest first.
DELETE FROM import_chunks WHERE import_id = :import_id AND position IN (
    SELECT position FROM import_chunks WHERE import_id = :import_id ORDER BY position LIMIT :n
);

-- name: import_chunks.left
-- Return ended imports whose files are not deleted yet.
SELECT DISTINCT c.import_id FROM import_chunks c LEFT JOIN imports i ON i.id = c.import_id
WHERE i.id IS NULL OR i.state NOT IN ('receiving', 'running') LIMIT 10;

-- name: import_errors.add
-- Record rejected rows.
INSERT INTO import_errors (import_id, row_number, code, column_name, detail, cells) VALUES :rows;

-- name: import_errors.page
-- Return rejected rows in the order of the file.
SELECT row_number, code, column_name, detail, cells FROM import_errors
WHERE import_id = :import_id AND row_number > :after ORDER BY row_number LIMIT :n;
