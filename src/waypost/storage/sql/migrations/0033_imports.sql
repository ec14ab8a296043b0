-- Imports of people from files. A file lies in chunks in the database, so that any process can go on with it.

CREATE TABLE imports (
    id {key},
    workspace_id bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('receiving', 'running', 'done', 'failed', 'cancelled')),
    -- JSON: the format of the file and what becomes of its columns.
    plan text NOT NULL,
    list_id bigint,
    source text NOT NULL,
    -- 0 or 1: whether the file is only checked.
    dry_run bigint NOT NULL,
    -- The bytes of the file as stored, and of these how many were read.
    bytes bigint NOT NULL,
    position bigint NOT NULL,
    -- The number of the last row that was read, as a spreadsheet counts it.
    row_number bigint NOT NULL,
    -- Rows with contents, and what became of them.
    rows bigint NOT NULL,
    imported bigint NOT NULL,
    rejected bigint NOT NULL,
    created bigint NOT NULL,
    -- Rows of which a quotation mark is never closed.
    unbalanced bigint NOT NULL,
    -- Why it failed, or null.
    reason text,
    detail text,
    -- The node that reads the file, or null.
    node bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    ended_at bigint
);
CREATE INDEX imports_by_workspace ON imports (workspace_id, id);
CREATE INDEX imports_open ON imports (state, id) WHERE state IN ('receiving', 'running');

-- The file in UTF-8 or Windows-1252, compressed; `position` is that of the first byte of a chunk.
CREATE TABLE import_chunks (
    import_id bigint NOT NULL,
    position bigint NOT NULL,
    content {bytes} NOT NULL,
    PRIMARY KEY (import_id, position)
);

-- The rows that were rejected, and why.
CREATE TABLE import_errors (
    import_id bigint NOT NULL,
    row_number bigint NOT NULL,
    code text NOT NULL,
    -- The name of the column that is wrong, or null.
    column_name text,
    detail text NOT NULL,
    -- JSON: the cells of the row, shortened.
    cells text NOT NULL,
    PRIMARY KEY (import_id, row_number)
){clustered};
