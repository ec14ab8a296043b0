-- Subscriptions of addresses, and their histories.

-- name: subscriptions.states (sqlite)
-- Return the states of addresses: [workspace, channel, address]. One row of JSON, as in events.known.
SELECT json_group_array(json_array(s.workspace_id, s.channel, s.address, s.state)) FROM json_each(:keys) k CROSS JOIN subscriptions s
WHERE s.workspace_id = k.value ->> 0 AND s.channel = k.value ->> 1 AND s.address = k.value ->> 2;

-- name: subscriptions.states (postgres)
-- One look-up by the primary key per address.
SELECT coalesce(json_agg(json_build_array(s.workspace_id, s.channel, s.address, s.state)), '[]')::text
FROM json_array_elements(:keys::json) k CROSS JOIN LATERAL (
    SELECT * FROM subscriptions WHERE workspace_id = (k ->> 0)::bigint AND channel = k ->> 1 AND address = k ->> 2 OFFSET 0
) s;

-- name: subscriptions.load (sqlite)
-- Return the subscriptions of addresses. One row of JSON, as in events.known.
SELECT json_group_array(json_array(s.workspace_id, s.channel, s.address, s.state, s.source, s.changed_at, s.proof))
FROM json_each(:keys) k CROSS JOIN subscriptions s
WHERE s.workspace_id = k.value ->> 0 AND s.channel = k.value ->> 1 AND s.address = k.value ->> 2;

-- name: subscriptions.load (postgres)
-- One look-up by the primary key per address.
SELECT coalesce(json_agg(json_build_array(s.workspace_id, s.channel, s.address, s.state, s.source, s.changed_at, s.proof)), '[]')::text
FROM json_array_elements(:keys::json) k CROSS JOIN LATERAL (
    SELECT * FROM subscriptions WHERE workspace_id = (k ->> 0)::bigint AND channel = k ->> 1 AND address = k ->> 2 OFFSET 0
) s;

-- name: subscriptions.lock (sqlite)
-- Return subscriptions before they change; SQLite has one writer.
SELECT json_group_array(json_array(s.workspace_id, s.channel, s.address, s.state, s.source, s.changed_at, s.proof))
FROM json_each(:keys) k CROSS JOIN subscriptions s
WHERE s.workspace_id = k.value ->> 0 AND s.channel = k.value ->> 1 AND s.address = k.value ->> 2;

-- name: subscriptions.lock (postgres)
-- Lock them in the order of their keys, so that two transactions cannot deadlock.
SELECT coalesce(json_agg(json_build_array(s.workspace_id, s.channel, s.address, s.state, s.source, s.changed_at, s.proof)), '[]')::text
FROM json_array_elements(:keys::json) k CROSS JOIN LATERAL (
    SELECT * FROM subscriptions WHERE workspace_id = (k ->> 0)::bigint AND channel = k ->> 1 AND address = k ->> 2 FOR UPDATE
) s;

-- name: subscriptions.insert
-- Record the first subscriptions of addresses. When another transaction has just recorded one, the unit is run again.
INSERT INTO subscriptions (workspace_id, channel, address, state, source, changed_at, proof) VALUES :rows;

-- name: subscriptions.update
-- Change subscriptions that exist. An upsert, because that is the one bulk statement that both databases share.
INSERT INTO subscriptions (workspace_id, channel, address, state, source, changed_at, proof) VALUES :rows
ON CONFLICT (workspace_id, channel, address) DO UPDATE SET state = excluded.state, source = excluded.source,
    changed_at = excluded.changed_at, proof = excluded.proof;

-- name: subscriptions.get
-- Return the subscription of an address.
SELECT channel, address, state, source, changed_at, proof FROM subscriptions
WHERE workspace_id = :workspace_id AND channel = :channel AND address = :address;

-- name: subscription_history.add
-- Record changes; a repeat is recorded already.
INSERT INTO subscription_history (workspace_id, channel, address, changed_at, change_key, state, source, proof, effective, cause,
    recorded_at)
VALUES :rows ON CONFLICT (workspace_id, channel, address, changed_at, change_key) DO NOTHING;

-- name: subscription_history.list
-- Return a page of the history of an address, the latest change first.
SELECT channel, address, state, source, changed_at, proof, effective, cause, recorded_at, change_key FROM subscription_history
WHERE workspace_id = :workspace_id AND channel = :channel AND address = :address
    AND (changed_at, change_key) < (:changed_at, :change_key)
ORDER BY changed_at DESC, change_key DESC LIMIT :n;
