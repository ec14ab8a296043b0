-- Campaigns, their occurrences, and the ledger of their recipients.

CREATE TABLE campaigns (
    id {key},
    workspace_id bigint NOT NULL,
    name text NOT NULL,
    channel text NOT NULL,
    state text NOT NULL CHECK (state IN ('draft', 'scheduled', 'live', 'paused', 'finished', 'cancelled')),
    -- JSON: template, audience, exclusions, schedule, throttle and everything else that a marketer sets.
    definition text NOT NULL,
    -- When the next occurrence begins; null for none.
    next_at bigint,
    -- Rises with every change of the definition.
    version bigint NOT NULL,
    launched_at bigint,
    ended_at bigint,
    -- Why it was paused by itself, or null.
    reason text,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE INDEX campaigns_by_workspace ON campaigns (workspace_id, id);
CREATE INDEX campaigns_due ON campaigns (next_at) WHERE next_at IS NOT NULL;

-- One sending of a campaign to its audience; a recurring campaign has many.
CREATE TABLE occurrences (
    id {key},
    workspace_id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    -- When it was to begin. A campaign has one occurrence for each time.
    planned_at bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('preparing', 'sending', 'done', 'cancelled')),
    -- The list of the audience, if it is one; null for several, or for segments.
    list_id bigint,
    -- The last profile whose membership of the audience was decided.
    cursor_id bigint NOT NULL,
    audience bigint NOT NULL,
    -- The bucket of its throttle, shared by all processes; null without a throttle.
    throttle_id bigint,
    -- The variant that won the test, or null.
    winner text,
    created_at bigint NOT NULL,
    ended_at bigint,
    UNIQUE (campaign_id, planned_at)
);
CREATE INDEX occurrences_open ON occurrences (id) WHERE state IN ('preparing', 'sending');

-- One row per person and occurrence: nobody gets an occurrence twice.
CREATE TABLE recipients (
    occurrence_id bigint NOT NULL,
    profile_id bigint NOT NULL,
    -- `waiting` for its turn, `holdout`, or the status of its message.
    status text NOT NULL CHECK (
        status IN ('waiting', 'holdout', 'queued', 'held', 'sent', 'delivered', 'failed', 'skipped', 'unknown')
    ),
    reason text,
    code bigint,
    variant text,
    message_id bigint,
    -- When its turn comes, and once it came: when it came.
    due_at bigint NOT NULL,
    opened_at bigint,
    clicked_at bigint,
    converted_at bigint,
    PRIMARY KEY (occurrence_id, profile_id)
){clustered};
CREATE INDEX recipients_by_profile ON recipients (profile_id);

-- The parts of an occurrence: a range of profiles whose turn comes at the same time. A process claims a whole part.
CREATE TABLE occurrence_parts (
    occurrence_id bigint NOT NULL,
    due_at bigint NOT NULL,
    -- The first profile of the range, and the last one.
    first_id bigint NOT NULL,
    last_id bigint NOT NULL,
    recipients bigint NOT NULL,
    -- The node that makes its messages, or null.
    node bigint,
    PRIMARY KEY (occurrence_id, due_at, first_id)
){clustered};
CREATE INDEX occurrence_parts_due ON occurrence_parts (due_at, occurrence_id, first_id) WHERE node IS NULL;
CREATE INDEX occurrence_parts_held ON occurrence_parts (node) WHERE node IS NOT NULL;

-- What became of the recipients of an occurrence, by the hour. `kind` says what is counted: `status` for how many have a
-- status now, and engagement such as `opened`. `key` is a status, with its reason, or a link; `code` is a failure code.
-- Several rows per key, as in endpoint_counts.
CREATE TABLE campaign_counts (
    occurrence_id bigint NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    code bigint NOT NULL,
    variant text NOT NULL,
    hour bigint NOT NULL,
    node bigint NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (occurrence_id, kind, key, code, variant, hour, node)
){clustered};

-- The first click of a person on each link of an occurrence, by the number of the link.
CREATE TABLE campaign_clicks (
    occurrence_id bigint NOT NULL,
    profile_id bigint NOT NULL,
    link text NOT NULL,
    clicked_at bigint NOT NULL,
    PRIMARY KEY (occurrence_id, profile_id, link)
){clustered};

-- The occurrence of a campaign that a message belongs to, and the variant of its template; null for other messages.
ALTER TABLE messages ADD COLUMN occurrence_id bigint;
ALTER TABLE messages ADD COLUMN variant text;
