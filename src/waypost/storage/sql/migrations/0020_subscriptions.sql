-- Consents become subscriptions: with the proof of what people said, and the history of every address.

CREATE TABLE subscriptions (
    workspace_id bigint NOT NULL,
    channel text NOT NULL,
    address text NOT NULL,
    state text NOT NULL CHECK (state IN ('subscribed', 'unsubscribed')),
    source text NOT NULL,
    -- When the person said so, not when it was recorded.
    changed_at bigint NOT NULL,
    -- JSON object: what proves it, such as the form and the IP address.
    proof text NOT NULL,
    PRIMARY KEY (workspace_id, channel, address)
){clustered};

-- Every change of an address, also those that a later one had overtaken before they arrived.
CREATE TABLE subscription_history (
    workspace_id bigint NOT NULL,
    channel text NOT NULL,
    address text NOT NULL,
    changed_at bigint NOT NULL,
    -- 63 bits of a digest of state, source and proof: a repeat of a change has the same key.
    change_key bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('subscribed', 'unsubscribed')),
    source text NOT NULL,
    proof text NOT NULL,
    -- 0 or 1: whether it was the latest change when it was recorded.
    effective bigint NOT NULL,
    -- The message id of the event, or the id of the message, that it follows from; null for a request.
    cause text,
    recorded_at bigint NOT NULL,
    PRIMARY KEY (workspace_id, channel, address, changed_at, change_key)
){clustered};

INSERT INTO subscriptions (workspace_id, channel, address, state, source, changed_at, proof)
SELECT workspace_id, channel, address, CASE state WHEN 'opted_in' THEN 'subscribed' ELSE 'unsubscribed' END, source, changed_at, '{}'
FROM consents;
INSERT INTO subscription_history (workspace_id, channel, address, changed_at, change_key, state, source, proof, effective, recorded_at)
SELECT workspace_id, channel, address, changed_at, 0, state, source, proof, 1, changed_at FROM subscriptions;
DROP TABLE consents;
