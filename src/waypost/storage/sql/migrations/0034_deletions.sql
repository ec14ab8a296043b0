-- Deletions of people: what was found about them becomes anonymous, step by step.

CREATE TABLE deletions (
    -- The profile; one that was merged into it has a row of its own.
    profile_id {key},
    workspace_id bigint NOT NULL,
    -- What is searched: events, then links.
    stage text NOT NULL CHECK (stage IN ('events', 'links', 'done')),
    -- The last row that was searched.
    cursor_id bigint NOT NULL,
    -- Searches so far. A second one, a while later, finds what was under way during the first.
    passes bigint NOT NULL,
    -- 0 or 1: whether a message was found, and whether one was found that is being sent.
    messages bigint NOT NULL,
    unfinished bigint NOT NULL,
    due_at bigint,
    created_at bigint NOT NULL,
    ended_at bigint
);
CREATE INDEX deletions_due ON deletions (due_at) WHERE due_at IS NOT NULL;
