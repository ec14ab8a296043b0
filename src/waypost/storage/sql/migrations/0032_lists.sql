-- Counts of members and tags, and the confirmations of lists with double opt-in.

-- The template of the confirmation mail; null for the default text.
ALTER TABLE lists ADD COLUMN template_id bigint;

-- How many members of a list have a state. Several rows per key, as in endpoint_counts.
CREATE TABLE list_counts (
    list_id bigint NOT NULL,
    state text NOT NULL,
    node bigint NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (list_id, state, node)
){clustered};

-- How many profiles have a tag. Several rows per key, as in endpoint_counts.
CREATE TABLE tag_counts (
    workspace_id bigint NOT NULL,
    tag text NOT NULL,
    node bigint NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (workspace_id, tag, node)
){clustered};

-- Pending members who are asked by mail whether they want to be on the list.
CREATE TABLE list_confirmations (
    list_id bigint NOT NULL,
    profile_id bigint NOT NULL,
    workspace_id bigint NOT NULL,
    -- When the mail is due; null when it was handed in.
    due_at bigint,
    -- 128 random bits in the link of the mail.
    token text NOT NULL UNIQUE,
    created_at bigint NOT NULL,
    PRIMARY KEY (list_id, profile_id)
){clustered};
CREATE INDEX list_confirmations_due ON list_confirmations (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX list_confirmations_by_profile ON list_confirmations (profile_id);
CREATE INDEX list_confirmations_by_age ON list_confirmations (created_at);
