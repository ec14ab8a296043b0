-- Short links, the counts of their clicks, and the tracking settings of workspaces.

CREATE TABLE links (
    -- 53 random bits, from which the token in the short link is made.
    id {key},
    workspace_id bigint NOT NULL,
    -- The message and the person that it was made for.
    message_id bigint,
    profile_id bigint,
    url text NOT NULL,
    created_at bigint NOT NULL,
    -- It redirects until then; a while later it is deleted.
    expires_at bigint NOT NULL
);
CREATE INDEX links_by_expiry ON links (expires_at, id);

-- Clicks on the links of messages by the hour, those of machines apart. Several rows per key, as in endpoint_counts.
CREATE TABLE click_counts (
    message_id bigint NOT NULL,
    hour bigint NOT NULL,
    node bigint NOT NULL,
    workspace_id bigint NOT NULL,
    clicks bigint NOT NULL,
    machine_clicks bigint NOT NULL,
    PRIMARY KEY (message_id, hour, node)
){clustered};
CREATE INDEX click_counts_by_hour ON click_counts (hour, message_id);

-- How a workspace makes short links. One without a row has the defaults.
CREATE TABLE tracking_settings (
    workspace_id {key},
    -- The tracking domain; null for the public URL of the data center.
    base_url text,
    data_center text NOT NULL,
    -- Days for which links are valid; null for the default of the server.
    link_days bigint,
    -- JSON: the UTM parameters to add; null for none.
    utm text,
    updated_at bigint NOT NULL
);
