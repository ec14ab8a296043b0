-- Clients of the text-message API, the texts that they sent, and what keeps a text from being sent twice.

CREATE TABLE text_clients (
    id {key},
    workspace_id bigint NOT NULL,
    name text NOT NULL,
    -- What the client sends as X-Client-ID.
    client_id text NOT NULL UNIQUE,
    -- JSON: SHA-256 digests of the valid secrets, and until when each is valid (null: until the next rotation).
    secrets text NOT NULL,
    -- Texts per second.
    rate_limit double precision NOT NULL,
    check_links text NOT NULL CHECK (check_links IN ('now', 'later', 'never')),
    -- JSON: the parameters of its links; null for the default ones.
    utm text,
    connection_id bigint,
    -- JSON: where statuses go, or null.
    callback text,
    -- The webhook endpoint of the callback.
    endpoint_id bigint,
    default_metric text NOT NULL,
    max_matches bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE INDEX text_clients_by_workspace ON text_clients (workspace_id, id);

-- What the statuses of a text are reported with.
CREATE TABLE texts (
    message_id {key},
    client_id bigint NOT NULL,
    metric text NOT NULL,
    purpose text NOT NULL,
    -- A JSON object.
    callback_data text NOT NULL
);

-- Texts that were accepted in the last 24 hours, by a digest of person, send purpose and text.
CREATE TABLE text_repeats (
    digest text PRIMARY KEY NOT NULL,
    message_id bigint NOT NULL,
    expires_at bigint NOT NULL
){clustered};
CREATE INDEX text_repeats_by_age ON text_repeats (expires_at);

-- Texts whose links are checked before they are sent.
CREATE TABLE text_link_checks (
    message_id {key},
    workspace_id bigint NOT NULL,
    -- JSON: the URLs of the page and of the image, or null.
    urls text NOT NULL,
    due_at bigint NOT NULL
);
CREATE INDEX text_link_checks_due ON text_link_checks (due_at);

-- The client of the text-message API that asked for the message, or null.
ALTER TABLE messages ADD COLUMN text_client_id bigint;
