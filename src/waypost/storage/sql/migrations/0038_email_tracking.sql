-- Opens and clicks of emails, and the key that signs the tokens in them.

-- The key of all tokens in emails; one row.
CREATE TABLE signing_keys (
    id {key},
    -- In base64, encrypted with the secret key.
    secret text NOT NULL,
    created_at bigint NOT NULL
);

-- The URLs that links in emails lead to, each once per workspace, however many mails contain it.
CREATE TABLE tracked_urls (
    -- 63 bits of a keyed digest of workspace and URL.
    id {key},
    workspace_id bigint NOT NULL,
    url text NOT NULL,
    -- No token that names it is valid after that.
    expires_at bigint NOT NULL
);
CREATE INDEX tracked_urls_by_expiry ON tracked_urls (expires_at, id);

-- Opens of emails by the hour, those of machines apart. Several rows per key, as in endpoint_counts.
CREATE TABLE open_counts (
    message_id bigint NOT NULL,
    hour bigint NOT NULL,
    node bigint NOT NULL,
    workspace_id bigint NOT NULL,
    opens bigint NOT NULL,
    machine_opens bigint NOT NULL,
    PRIMARY KEY (message_id, hour, node)
){clustered};
CREATE INDEX open_counts_by_hour ON open_counts (hour, message_id);

-- The latest clicks on each email, to tell machines that follow all its links from people.
CREATE TABLE click_bursts (
    message_id {key},
    began_at bigint NOT NULL,
    last_at bigint NOT NULL,
    -- JSON: the numbers of the links that were followed since it began.
    numbers text NOT NULL,
    -- When the link that no person sees was followed; 0 for never.
    baited_at bigint NOT NULL
);
CREATE INDEX click_bursts_by_time ON click_bursts (last_at);

-- JSON: how emails are tracked; null for the defaults.
ALTER TABLE tracking_settings ADD COLUMN mail text;

-- What happens to emails has types of its own from now on. Endpoints that asked for it go on getting it.
UPDATE endpoints SET event_types = replace(event_types, '"message.opened"', '"message.opened","email.opened"');
UPDATE endpoints SET event_types = replace(event_types, '"message.clicked"', '"message.clicked","email.clicked"');
UPDATE endpoints SET event_types = replace(event_types, '"message.complained"', '"message.complained","email.complained"');
UPDATE endpoints SET event_types = replace(event_types, '"message.unsubscribed"', '"message.unsubscribed","email.unsubscribed"');
UPDATE endpoints SET event_types = replace(event_types, '"message.*"', '"message.*","email.*"');
