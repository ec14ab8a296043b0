-- Deletions of workspaces: what is not sent yet ends, then the rows are deleted, step by step.

CREATE TABLE workspace_deletions (
    workspace_id {key},
    -- What is done: unsent messages end, pending deliveries end, rows are deleted by their indexes, and by searching tables.
    stage text NOT NULL CHECK (stage IN ('messages', 'deliveries', 'rows', 'searches', 'done')),
    -- The table within the stage, and the last row that was looked at.
    place bigint NOT NULL,
    cursor_id bigint NOT NULL,
    -- Whether this is the second look for what is not sent: it finds what was under way during the first.
    again bigint NOT NULL,
    -- Rows deleted so far.
    deleted bigint NOT NULL,
    due_at bigint,
    created_at bigint NOT NULL,
    ended_at bigint
);
CREATE INDEX workspace_deletions_due ON workspace_deletions (due_at) WHERE due_at IS NOT NULL;
