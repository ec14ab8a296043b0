-- Workspaces, keys, events, profiles, webhook endpoints, deliveries and attempts.
-- Words in braces differ by database: {key} is an integer primary key, {bytes} a byte string,
-- {clustered} a table kept in the order of its primary key (SQLite only).

CREATE TABLE workspaces (
    id {key},
    name text NOT NULL,
    -- Rises with every change to the workspace's endpoints, so that every process knows when to read them again.
    config_version bigint NOT NULL DEFAULT 0,
    created_at bigint NOT NULL
);

CREATE TABLE keys (
    id {key},
    workspace_id bigint NOT NULL,
    name text NOT NULL,
    scopes text NOT NULL,
    hash text NOT NULL UNIQUE,
    hint text NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX keys_by_workspace ON keys (workspace_id, id);

-- The processes that create ids and hold deliveries. One without a heartbeat is evicted, and its work is released.
CREATE TABLE nodes (
    id {key},
    token text NOT NULL,
    host text NOT NULL,
    -- 0 or 1: whether it sends. Those that do share the limits of the endpoints.
    sends bigint NOT NULL,
    started_at bigint NOT NULL,
    seen_at bigint NOT NULL
);

CREATE TABLE events (
    id {key},
    workspace_id bigint NOT NULL,
    -- 64 bits of a digest of workspace and message id; null where two ids happen to share one.
    message_key bigint,
    message_id text NOT NULL,
    type text NOT NULL,
    profile_id bigint,
    occurred_at bigint NOT NULL,
    data text NOT NULL
);
CREATE INDEX events_by_workspace ON events (workspace_id, id);

-- The event types of tracked metrics.
CREATE TABLE event_types (
    workspace_id bigint NOT NULL,
    type text NOT NULL,
    metric text NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (workspace_id, type)
){clustered};

CREATE TABLE profiles (
    id {key},
    workspace_id bigint NOT NULL,
    merged_into bigint,
    traits text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE INDEX profiles_by_workspace ON profiles (workspace_id, id);
CREATE INDEX profiles_merged ON profiles (merged_into) WHERE merged_into IS NOT NULL;

CREATE TABLE identities (
    workspace_id bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('user_id', 'anonymous_id', 'email', 'phone')),
    value text NOT NULL,
    profile_id bigint NOT NULL,
    claimed_at bigint NOT NULL,
    PRIMARY KEY (workspace_id, kind, value)
){clustered};
CREATE INDEX identities_by_profile ON identities (profile_id);

CREATE TABLE endpoints (
    id {key},
    workspace_id bigint NOT NULL,
    url text NOT NULL,
    description text NOT NULL,
    event_types text NOT NULL,
    filter text,
    -- Encrypted: custom headers carry credentials.
    headers text NOT NULL,
    rate_limit double precision,
    concurrency bigint NOT NULL,
    timeout_ms bigint NOT NULL,
    format text NOT NULL,
    signature text NOT NULL,
    owner_email text,
    -- Encrypted.
    secrets text NOT NULL,
    status text NOT NULL CHECK (status IN ('enabled', 'disabled')),
    disabled_reason text,
    disabled_at bigint,
    last_error text,
    last_error_at bigint,
    version bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE INDEX endpoints_by_workspace ON endpoints (workspace_id, id);

-- The ledger, kept by the recorder in the transaction of what it counts. One row per process that counts,
-- so that several do not wait for each other.
CREATE TABLE endpoint_counts (
    endpoint_id bigint NOT NULL,
    node bigint NOT NULL,
    workspace_id bigint NOT NULL,
    accepted bigint NOT NULL,
    delivered bigint NOT NULL,
    pending bigint NOT NULL,
    dead bigint NOT NULL,
    PRIMARY KEY (endpoint_id, node)
){clustered};
CREATE INDEX endpoint_counts_by_workspace ON endpoint_counts (workspace_id);

-- The payload stays with the event; a delivery records its sending to one endpoint.
CREATE TABLE deliveries (
    endpoint_id bigint NOT NULL,
    event_id bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    -- Tries since it was last queued, and in all.
    tries bigint NOT NULL,
    attempts bigint NOT NULL,
    due_at bigint,
    -- The node that holds it, or null.
    node bigint,
    reason text,
    settled_at bigint,
    PRIMARY KEY (endpoint_id, event_id),
    CHECK ((state = 'pending') = (due_at IS NOT NULL))
){clustered};
CREATE INDEX deliveries_pending ON deliveries (endpoint_id, due_at, event_id) WHERE state = 'pending';
CREATE INDEX deliveries_dead ON deliveries (endpoint_id, event_id) WHERE state = 'dead';

CREATE TABLE attempts (
    endpoint_id bigint NOT NULL,
    id bigint NOT NULL,
    event_id bigint NOT NULL,
    number bigint NOT NULL,
    started_at bigint NOT NULL,
    duration_us bigint NOT NULL,
    status bigint,
    headers text NOT NULL,
    body {bytes} NOT NULL,
    error text,
    PRIMARY KEY (endpoint_id, id)
){clustered};
CREATE INDEX attempts_by_delivery ON attempts (endpoint_id, event_id, id);

CREATE TABLE replays (
    id {key},
    workspace_id bigint NOT NULL,
    endpoint_id bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'done', 'cancelled')),
    since bigint NOT NULL,
    until bigint NOT NULL,
    states text NOT NULL,
    types text NOT NULL,
    -- Its progress: the last event that was read.
    cursor_id bigint NOT NULL,
    seen bigint NOT NULL,
    queued bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE INDEX replays_by_endpoint ON replays (endpoint_id, id);
CREATE INDEX replays_running ON replays (id) WHERE state = 'running';

-- Operator notifications, mailed when a mail server is configured.
CREATE TABLE notices (
    id {key},
    workspace_id bigint NOT NULL,
    kind text NOT NULL,
    about bigint,
    recipient text,
    subject text NOT NULL,
    body text NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'sent', 'shown', 'failed')),
    tries bigint NOT NULL,
    due_at bigint,
    error text,
    created_at bigint NOT NULL
);
CREATE INDEX notices_by_workspace ON notices (workspace_id, id);
CREATE INDEX notices_pending ON notices (due_at) WHERE state = 'pending';

CREATE TABLE idempotency (
    workspace_id bigint NOT NULL,
    key text NOT NULL,
    request_hash text NOT NULL,
    status bigint NOT NULL,
    response text NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (workspace_id, key)
){clustered};
CREATE INDEX idempotency_by_age ON idempotency (created_at);
