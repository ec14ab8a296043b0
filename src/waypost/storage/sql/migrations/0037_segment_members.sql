-- Tracked segments: their members are kept up as events come in and as time passes.

-- 0 or 1: whether its members are kept up.
ALTER TABLE segments ADD COLUMN tracked bigint NOT NULL DEFAULT 0;
-- The last profile that was evaluated since the condition changed; null when all of them were.
ALTER TABLE segments ADD COLUMN filled_to bigint;
-- 0 or 1: whether people whom this evaluation finds enter with an event.
ALTER TABLE segments ADD COLUMN announces bigint NOT NULL DEFAULT 1;
CREATE INDEX segments_filling ON segments (id) WHERE filled_to IS NOT NULL;

CREATE TABLE segment_members (
    segment_id bigint NOT NULL,
    profile_id bigint NOT NULL,
    since bigint NOT NULL,
    PRIMARY KEY (segment_id, profile_id)
){clustered};
CREATE INDEX segment_members_by_profile ON segment_members (profile_id);

-- When time alone may change whether a person is a member.
CREATE TABLE segment_rechecks (
    segment_id bigint NOT NULL,
    profile_id bigint NOT NULL,
    due_at bigint NOT NULL,
    PRIMARY KEY (segment_id, profile_id)
){clustered};
CREATE INDEX segment_rechecks_due ON segment_rechecks (due_at);
CREATE INDEX segment_rechecks_by_profile ON segment_rechecks (profile_id);

-- Every workspace has a version of its segments, which the recorder locks so that no change of them is missed.
INSERT INTO configurations (workspace_id, area, version) SELECT id, 'segments', 0 FROM workspaces
WHERE true ON CONFLICT (workspace_id, area) DO NOTHING;
