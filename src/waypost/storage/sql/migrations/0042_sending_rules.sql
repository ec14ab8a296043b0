-- Sending rules of workspaces: quiet hours and frequency caps. What they hold, and what they count.

CREATE TABLE sending_rules (
    workspace_id {key},
    -- JSON: the time zone, the quiet hours and the frequency caps.
    rules text NOT NULL,
    -- Rises with every change.
    version bigint NOT NULL,
    updated_at bigint NOT NULL,
    -- The API key that changed them last.
    updated_by bigint NOT NULL
);

-- What each person was sent lately, as far as a frequency cap counts it. Written just before a message is sent.
CREATE TABLE recent_sends (
    workspace_id bigint NOT NULL,
    -- The id of the profile, or `channel:address` of somebody without one.
    person text NOT NULL,
    -- JSON: [when, message id, channel, purpose] of each message, the oldest first.
    sends text NOT NULL,
    -- When no frequency cap counts any of them any more.
    expires_at bigint NOT NULL,
    PRIMARY KEY (workspace_id, person)
){clustered};
CREATE INDEX recent_sends_by_expiry ON recent_sends (expires_at);

-- When a sending rule held the message for the first time, or null.
ALTER TABLE messages ADD COLUMN held_at bigint;
-- The sending rules that do not apply to it: 1 for quiet hours, 2 for frequency caps, 3 for both; null for none.
ALTER TABLE messages ADD COLUMN exempt bigint;
CREATE INDEX messages_held ON messages (due_at, id) WHERE status = 'held' AND held_at IS NOT NULL;
