-- Senders of emails that a workspace keeps, and the one of emails that name none.

CREATE TABLE senders (
    id {key},
    workspace_id bigint NOT NULL,
    channel text NOT NULL,
    address text NOT NULL,
    -- What people see beside the address; may be empty, as the address for answers.
    name text NOT NULL,
    reply_to text NOT NULL,
    -- 0 or 1: whether messages of the channel that name no sender have this one.
    is_default bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    UNIQUE (workspace_id, channel, address, name)
);
CREATE INDEX senders_by_workspace ON senders (workspace_id, id);
CREATE UNIQUE INDEX senders_default ON senders (workspace_id, channel) WHERE is_default = 1;
