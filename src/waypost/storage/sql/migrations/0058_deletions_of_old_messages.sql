-- Deletions of people search messages that have outlived their events, too: a stage of its own.

CREATE TABLE new_deletions (
    -- The profile; one that was merged into it has a row of its own.
    profile_id {key},
    workspace_id bigint NOT NULL,
    -- What is searched: events, then messages that are older than all events, then links.
    stage text NOT NULL CHECK (stage IN ('events', 'messages', 'links', 'done')),
    -- The last row that was searched.
    cursor_id bigint NOT NULL,
    -- Searches so far. A second one, a while later, finds what was under way during the first.
    passes bigint NOT NULL,
    -- 0 or 1: whether a message was found whose links are not searched yet, and whether one was found that is being sent.
    messages bigint NOT NULL,
    unfinished bigint NOT NULL,
    due_at bigint,
    created_at bigint NOT NULL,
    ended_at bigint
);
INSERT INTO new_deletions (profile_id, workspace_id, stage, cursor_id, passes, messages, unfinished, due_at, created_at, ended_at)
SELECT profile_id, workspace_id, stage, cursor_id, passes, messages, unfinished, due_at, created_at, ended_at FROM deletions;
DROP TABLE deletions;
ALTER TABLE new_deletions RENAME TO deletions;
CREATE INDEX deletions_due ON deletions (due_at) WHERE due_at IS NOT NULL;
