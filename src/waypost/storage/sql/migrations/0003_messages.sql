-- Connections to providers, templates, messages and receipts.

-- Connectors that operators added; those that come with Waypost are files.
CREATE TABLE connectors (
    workspace_id bigint NOT NULL,
    name text NOT NULL,
    -- TOML.
    definition text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (workspace_id, name)
){clustered};

CREATE TABLE connections (
    id {key},
    workspace_id bigint NOT NULL,
    name text NOT NULL,
    connector text NOT NULL,
    channel text NOT NULL,
    -- JSON: the fields that are not secret.
    config text NOT NULL,
    -- JSON, encrypted: the secret fields.
    secrets text NOT NULL,
    -- SHA-256 of the receipts key.
    receipts_key_hash text UNIQUE,
    -- The position in the order in which the connections of its channel are tried; equal ones by age.
    position bigint NOT NULL,
    -- Messages per second, where the owner wants less than the connector allows.
    per_second double precision,
    concurrency bigint,
    -- Seconds for which a message may be tried.
    validity_s bigint,
    status text NOT NULL CHECK (status IN ('enabled', 'paused', 'disabled')),
    status_reason text,
    status_at bigint,
    last_error text,
    last_error_at bigint,
    checked_at bigint,
    -- JSON: what the last set-up check found.
    check_report text,
    data_center text,
    version bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE INDEX connections_by_workspace ON connections (workspace_id, id);

-- Token buckets, shared by all processes: one for each connection with a limit, and one for each throttled send.
CREATE TABLE buckets (
    id {key},
    workspace_id bigint NOT NULL,
    per_second double precision NOT NULL,
    tokens double precision NOT NULL,
    filled_at bigint NOT NULL
);

CREATE TABLE templates (
    id {key},
    workspace_id bigint NOT NULL,
    name text NOT NULL,
    channel text NOT NULL,
    version bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE INDEX templates_by_workspace ON templates (workspace_id, id);

-- Versions are never deleted: messages name the one that they used.
CREATE TABLE template_versions (
    template_id bigint NOT NULL,
    version bigint NOT NULL,
    -- JSON: the variants.
    content text NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (template_id, version)
){clustered};

CREATE TABLE messages (
    id {key},
    workspace_id bigint NOT NULL,
    profile_id bigint,
    channel text NOT NULL,
    connection_id bigint NOT NULL,
    -- 1: only this connection may send it.
    pinned bigint NOT NULL,
    address text NOT NULL,
    purpose text NOT NULL,
    status text NOT NULL CHECK (
        status IN ('queued', 'held', 'sending', 'sent', 'delivered', 'failed', 'skipped', 'unknown')
    ),
    -- When the status changed, by the clock of its source.
    status_at bigint NOT NULL,
    code bigint,
    reason text,
    -- The provider's own code.
    provider_code text,
    provider_message_id text,
    -- 64 bits of a digest of connection and provider's id, by which receipts find it.
    provider_key bigint,
    template_id bigint NOT NULL,
    template_version bigint NOT NULL,
    campaign text NOT NULL,
    -- JSON.
    metadata text NOT NULL,
    test bigint NOT NULL,
    tries bigint NOT NULL DEFAULT 0,
    due_at bigint,
    expires_at bigint NOT NULL,
    throttle_id bigint,
    -- The node that is sending it; 0 when that node was evicted.
    node bigint,
    parts bigint,
    price_micros bigint,
    currency text,
    carrier text,
    -- The history: JSON objects, joined by commas.
    history text NOT NULL,
    updated_at bigint NOT NULL,
    CHECK ((status IN ('queued', 'held')) = (due_at IS NOT NULL))
);
CREATE INDEX messages_by_workspace ON messages (workspace_id, id);
CREATE INDEX messages_queued ON messages (connection_id, due_at, id) WHERE status = 'queued';
CREATE INDEX messages_sending ON messages (node) WHERE status = 'sending';
CREATE INDEX messages_unknown ON messages (workspace_id, id) WHERE status = 'unknown';
CREATE INDEX messages_by_provider ON messages (provider_key) WHERE provider_key IS NOT NULL;

-- The contents have a table of their own, because they are written once and states change often.
CREATE TABLE message_contents (
    message_id {key},
    -- JSON.
    content text NOT NULL
);

-- Addresses to which nothing may be sent, and why.
CREATE TABLE suppressions (
    workspace_id bigint NOT NULL,
    channel text NOT NULL,
    address text NOT NULL,
    reason text NOT NULL,
    -- The connection that reported it, or null for an entry by hand.
    connection_id bigint,
    detail text,
    created_at bigint NOT NULL,
    PRIMARY KEY (workspace_id, channel, address)
){clustered};

-- The consents of people.
CREATE TABLE consents (
    workspace_id bigint NOT NULL,
    channel text NOT NULL,
    address text NOT NULL,
    state text NOT NULL CHECK (state IN ('opted_in', 'opted_out')),
    source text NOT NULL,
    changed_at bigint NOT NULL,
    PRIMARY KEY (workspace_id, channel, address)
){clustered};

-- Status changes of messages by the hour. Several rows per key, as in endpoint_counts.
CREATE TABLE message_counts (
    workspace_id bigint NOT NULL,
    hour bigint NOT NULL,
    connection_id bigint NOT NULL,
    campaign text NOT NULL,
    template_id bigint NOT NULL,
    status text NOT NULL,
    code bigint NOT NULL,
    node bigint NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (workspace_id, hour, connection_id, campaign, template_id, status, code, node)
){clustered};

-- Receipts without a message: the receipt may arrive before the provider's response is recorded.
CREATE TABLE unmatched_receipts (
    id {key},
    workspace_id bigint NOT NULL,
    connection_id bigint NOT NULL,
    provider_key bigint NOT NULL,
    -- JSON.
    receipt text NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX unmatched_by_provider ON unmatched_receipts (provider_key);

-- Unreadable callbacks of providers.
CREATE TABLE quarantine (
    id {key},
    workspace_id bigint NOT NULL,
    connection_id bigint NOT NULL,
    reason text NOT NULL,
    body {bytes} NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX quarantine_by_workspace ON quarantine (workspace_id, id);
