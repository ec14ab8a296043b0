-- Messages, their counts, receipts and suppressions.

-- name: messages.insert
-- Record new messages.
INSERT INTO messages (id, workspace_id, profile_id, channel, connection_id, pinned, address, status, status_at, code, reason,
    template_id, campaign, metadata, test, due_at, expires_at, parts, text_client_id, occurrence_id,
    variant, purpose, template_version, throttle_id, exempt, history,
    updated_at)
VALUES :rows;

-- name: message_contents.insert
-- Store the contents of new messages.
INSERT INTO message_contents (message_id, content) VALUES :rows;

-- name: messages.load (sqlite)
-- Return the states of messages before they change. One row of JSON, as in events.known.
SELECT json_group_array(json_array(m.id, m.workspace_id, m.profile_id, m.channel, m.connection_id, m.pinned, m.address, m.status,
    m.status_at, m.code, m.reason, m.provider_code, m.provider_message_id, m.provider_key, m.template_id, m.campaign, m.metadata,
    m.test, m.tries, m.due_at, m.expires_at, m.node, m.parts, m.price_micros, m.currency, m.carrier, m.text_client_id,
    m.occurrence_id, m.variant, length(m.history)))
FROM json_each(:ids) k CROSS JOIN messages m ON m.id = k.value;

-- name: messages.load (postgres)
-- Lock them in the order of their ids, so that two transactions cannot deadlock.
SELECT coalesce(json_agg(json_build_array(m.id, m.workspace_id, m.profile_id, m.channel, m.connection_id, m.pinned, m.address,
    m.status, m.status_at, m.code, m.reason, m.provider_code, m.provider_message_id, m.provider_key, m.template_id, m.campaign,
    m.metadata, m.test, m.tries, m.due_at, m.expires_at, m.node, m.parts, m.price_micros, m.currency, m.carrier,
    m.text_client_id, m.occurrence_id, m.variant, length(m.history))), '[]')::text
FROM (SELECT * FROM messages WHERE id IN @list(ids bigint) ORDER BY id FOR UPDATE) m;

-- name: messages.by_provider (sqlite)
-- Return the messages with these keys of provider ids.
SELECT json_group_array(json_array(m.provider_key, m.id)) FROM json_each(:keys) k CROSS JOIN messages m ON m.provider_key = k.value;

-- name: messages.by_provider (postgres)
-- Return the messages with these keys of provider ids.
SELECT coalesce(json_agg(json_build_array(provider_key, id)), '[]')::text FROM messages WHERE provider_key IN @list(keys bigint);

-- name: messages.histories
-- Return the histories of messages.
SELECT id, history FROM messages WHERE id IN @list(ids bigint);

-- name: messages.write (sqlite)
-- Write the states of messages, and append to their histories.
WITH v (id, status, status_at, code, reason, provider_code, provider_message_id, provider_key, connection_id, tries, due_at, node,
    parts, price_micros, currency, carrier, history, updated_at) AS (VALUES :rows)
UPDATE messages SET status = v.status, status_at = v.status_at, code = v.code, reason = v.reason,
    provider_code = v.provider_code, provider_message_id = v.provider_message_id, provider_key = v.provider_key,
    connection_id = v.connection_id, tries = v.tries, due_at = v.due_at, node = v.node, parts = v.parts,
    price_micros = v.price_micros, currency = v.currency, carrier = v.carrier, history = messages.history || v.history,
    updated_at = v.updated_at
FROM v WHERE messages.id = v.id;

-- name: messages.write (postgres)
-- The columns are numbered as in SQLite's version. One look-up by the primary key per row.
UPDATE messages m SET status = r ->> 1, status_at = (r ->> 2)::bigint, code = (r ->> 3)::bigint, reason = r ->> 4,
    provider_code = r ->> 5, provider_message_id = r ->> 6, provider_key = (r ->> 7)::bigint,
    connection_id = (r ->> 8)::bigint, tries = (r ->> 9)::bigint, due_at = (r ->> 10)::bigint, node = (r ->> 11)::bigint,
    parts = (r ->> 12)::bigint, price_micros = (r ->> 13)::bigint, currency = r ->> 14, carrier = r ->> 15,
    history = m.history || (r ->> 16), updated_at = (r ->> 17)::bigint
FROM json_array_elements(:rows::json) r CROSS JOIN LATERAL (
    SELECT ctid FROM messages WHERE id = (r ->> 0)::bigint OFFSET 0
) found
WHERE m.ctid = found.ctid;

-- name: messages.due (sqlite)
-- Return the messages that a connection may send next, the longest due first.
SELECT m.id, m.throttle_id, m.purpose, c.content FROM (
    SELECT id, throttle_id, purpose, due_at FROM messages
    WHERE connection_id = :connection_id AND status = 'queued' AND due_at <= :now ORDER BY due_at, id LIMIT :n
) m LEFT JOIN message_contents c ON c.message_id = m.id ORDER BY m.due_at, m.id;

-- name: messages.due (postgres)
-- Several processes may run this at once; each skips the rows that another one locks.
SELECT m.id, m.throttle_id, m.purpose, c.content FROM (
    SELECT id, throttle_id, purpose, due_at FROM messages
    WHERE connection_id = :connection_id AND status = 'queued' AND due_at <= :now ORDER BY due_at, id LIMIT :n
    FOR UPDATE SKIP LOCKED
) m LEFT JOIN message_contents c ON c.message_id = m.id ORDER BY m.due_at, m.id;

-- name: messages.next_due
-- Return when the next message of each connection is due.
SELECT c.id, c.workspace_id, (
    SELECT m.due_at FROM messages m WHERE m.connection_id = c.id AND m.status = 'queued' ORDER BY m.due_at, m.id LIMIT 1
), c.deleted_at, c.status, c.channel FROM connections c;

-- name: messages.following
-- Return when a connection's next message is due that is not due yet.
SELECT due_at FROM messages WHERE connection_id = :connection_id AND status = 'queued' AND due_at > :now ORDER BY due_at, id LIMIT 1;

-- name: messages.bring_back (sqlite)
-- Return retries that are due far ahead and whose status is dated after the present: a wrong clock scheduled them.
UPDATE messages SET due_at = :now, updated_at = :now WHERE id IN (
    SELECT id FROM messages WHERE status = 'queued' AND tries > 0 AND due_at > :due_after AND updated_at > :written_after
    ORDER BY due_at, id LIMIT :n
);

-- name: messages.bring_back (postgres)
-- The same; two processes take different ones.
UPDATE messages SET due_at = :now, updated_at = :now WHERE id IN (
    SELECT id FROM messages WHERE status = 'queued' AND tries > 0 AND due_at > :due_after AND updated_at > :written_after
    ORDER BY due_at, id LIMIT :n FOR UPDATE SKIP LOCKED
);

-- name: messages.orphaned
-- Return messages whose sending process was evicted.
SELECT id FROM messages WHERE status = 'sending' AND node = 0 ORDER BY id LIMIT :n;

-- name: messages.overdue
-- Return messages that a process has been sending for longer than any call takes.
SELECT id FROM messages WHERE status = 'sending' AND node = :node AND status_at < :before ORDER BY id LIMIT 100000;

-- name: messages.orphan
-- Mark the messages that these nodes were sending as orphaned (node 0).
UPDATE messages SET node = 0 WHERE status = 'sending' AND node IN @list(nodes bigint);

-- name: messages.orphan_all
-- Mark all messages in sending as orphaned, when the only process of a database starts.
UPDATE messages SET node = 0 WHERE status = 'sending';

-- name: messages.unowned
-- Return the numbers under which messages are being sent and that no node has, apart from those that are orphaned already.
SELECT DISTINCT m.node FROM messages m
WHERE m.status = 'sending' AND m.node <> 0 AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = m.node);

-- name: messages.orphan_unowned
-- Mark the messages under these numbers as orphaned, unless a node has taken the number meanwhile.
UPDATE messages SET node = 0 WHERE status = 'sending' AND node IN @list(nodes bigint)
    AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = messages.node);

-- name: messages.expired
-- Return expired messages in the queue of a connection that does not send.
SELECT id FROM messages WHERE connection_id = :connection_id AND status = 'queued' AND pinned = :pinned AND expires_at <= :now
ORDER BY expires_at, id LIMIT :n;

-- name: messages.waiting (sqlite)
-- Return queued messages of a connection that does not send, those that expire first.
SELECT id FROM messages WHERE connection_id = :connection_id AND status = 'queued' AND pinned = :pinned
ORDER BY expires_at, id LIMIT :n;

-- name: messages.waiting (postgres)
-- Several processes may run this at once; each skips the rows that another one locks.
SELECT id FROM messages WHERE connection_id = :connection_id AND status = 'queued' AND pinned = :pinned
ORDER BY expires_at, id LIMIT :n FOR UPDATE SKIP LOCKED;

-- name: messages.stuck
-- Return whether a connection that does not send has messages that other connections may send (`free`), that no connection
-- will ever send (`gone`), or that are expired.
SELECT CASE WHEN (:free = 1 AND EXISTS (SELECT 1 FROM messages
        WHERE connection_id = :connection_id AND status = 'queued' AND pinned = 0))
    OR (:gone = 1 AND EXISTS (SELECT 1 FROM messages WHERE connection_id = :connection_id AND status = 'queued'))
    OR EXISTS (SELECT 1 FROM messages
        WHERE connection_id = :connection_id AND status = 'queued' AND pinned = 0 AND expires_at <= :now)
    OR EXISTS (SELECT 1 FROM messages
        WHERE connection_id = :connection_id AND status = 'queued' AND pinned = 1 AND expires_at <= :now)
    THEN 1 ELSE 0 END;

-- name: messages.extend
-- Change when a message expires; sending rules may hold it anew.
UPDATE messages SET expires_at = :expires_at, held_at = NULL WHERE id = :id;

-- name: messages.get
-- Return a message with its content.
SELECT m.*, c.content FROM messages m LEFT JOIN message_contents c ON c.message_id = m.id
WHERE m.workspace_id = :workspace_id AND m.id = :id;

-- name: messages.owners (sqlite)
-- Return the next messages of a workspace before an id, and whose they are.
SELECT id, profile_id FROM messages WHERE workspace_id = :workspace_id AND id > :after AND id < :before ORDER BY id LIMIT :n;

-- name: messages.owners (postgres)
-- By pairs: in the order of ids alone, PostgreSQL would search the rows of all workspaces for those of one.
SELECT id, profile_id FROM messages WHERE (workspace_id, id) > (:workspace_id, :after) AND (workspace_id, id) < (:workspace_id, :before)
ORDER BY workspace_id, id LIMIT :n;

-- name: messages.exported
-- Return messages with their contents.
SELECT m.*, c.content FROM messages m LEFT JOIN message_contents c ON c.message_id = m.id
WHERE m.workspace_id = :workspace_id AND m.id IN @list(ids bigint) ORDER BY m.id DESC;

-- name: messages.list
-- Return a page of messages, newest first.
SELECT m.*, NULL AS content FROM messages m WHERE m.workspace_id = :workspace_id AND m.id < :before AND m.id >= :since
ORDER BY m.id DESC LIMIT :n;

-- name: messages.list_unknown
-- Return a page of messages with the status unknown, newest first.
SELECT m.*, NULL AS content FROM messages m
WHERE m.workspace_id = :workspace_id AND m.status = 'unknown' AND m.id < :before AND m.id >= :since ORDER BY m.id DESC LIMIT :n;

-- name: messages.stretch (sqlite)
-- Return messages that match a filter among the next :scan messages, so that a page reads no more rows.
SELECT s.*, NULL AS content FROM (
    SELECT * FROM messages WHERE workspace_id = :workspace_id AND id < :before AND id >= :since ORDER BY id DESC LIMIT :scan
) s WHERE (:status = '' OR s.status = :status) AND (:connection_id = 0 OR s.connection_id = :connection_id)
    AND (:address = '' OR s.address = :address) AND (:profile_id = 0 OR s.profile_id = :profile_id)
    AND (:channel = '' OR s.channel = :channel) AND (:campaign = '' OR s.campaign = :campaign) AND (:code = 0 OR s.code = :code)
ORDER BY s.id DESC LIMIT :n;

-- name: messages.stretch (postgres)
-- By pairs: in the order of ids alone, PostgreSQL would search the rows of all workspaces for those of one.
SELECT s.*, NULL AS content FROM (
    SELECT * FROM messages WHERE (workspace_id, id) < (:workspace_id, :before) AND (workspace_id, id) >= (:workspace_id, :since)
    ORDER BY workspace_id DESC, id DESC LIMIT :scan
) s WHERE (:status = '' OR s.status = :status) AND (:connection_id = 0 OR s.connection_id = :connection_id)
    AND (:address = '' OR s.address = :address) AND (:profile_id = 0 OR s.profile_id = :profile_id)
    AND (:channel = '' OR s.channel = :channel) AND (:campaign = '' OR s.campaign = :campaign) AND (:code = 0 OR s.code = :code)
ORDER BY s.id DESC LIMIT :n;

-- name: messages.of_provider
-- Return the messages that a provider knows by an id and that match the filter, newest first.
SELECT s.*, NULL AS content FROM messages s WHERE s.provider_key = :provider_key AND s.workspace_id = :workspace_id
    AND s.provider_message_id = :provider_message_id AND s.id < :before AND s.id >= :since
    AND (:status = '' OR s.status = :status) AND (:connection_id = 0 OR s.connection_id = :connection_id)
    AND (:address = '' OR s.address = :address) AND (:profile_id = 0 OR s.profile_id = :profile_id)
    AND (:channel = '' OR s.channel = :channel) AND (:campaign = '' OR s.campaign = :campaign) AND (:code = 0 OR s.code = :code)
ORDER BY s.id DESC LIMIT :n;

-- name: messages.stretch_end (sqlite)
-- Return where that range ends, and how many messages it has.
SELECT min(id), count(*) FROM (
    SELECT id FROM messages WHERE workspace_id = :workspace_id AND id < :before AND id >= :since ORDER BY id DESC LIMIT :scan
) stretch;

-- name: messages.stretch_end (postgres)
-- By pairs: in the order of ids alone, PostgreSQL would search the rows of all workspaces for those of one.
SELECT min(id), count(*) FROM (
    SELECT id FROM messages WHERE (workspace_id, id) < (:workspace_id, :before) AND (workspace_id, id) >= (:workspace_id, :since)
    ORDER BY workspace_id DESC, id DESC LIMIT :scan
) stretch;

-- name: messages.aged
-- Return messages accepted before a time, and whether each has a final status and is unchanged since :settled_before.
SELECT id, CASE WHEN status NOT IN ('queued', 'held', 'sending') AND updated_at < :settled_before THEN 1 ELSE 0 END FROM messages
WHERE id > :after AND id < :before ORDER BY id LIMIT :n;

-- name: messages.aged_of_workspace (sqlite)
-- The same of one workspace.
SELECT id, CASE WHEN status NOT IN ('queued', 'held', 'sending') AND updated_at < :settled_before THEN 1 ELSE 0 END FROM messages
WHERE workspace_id = :workspace_id AND id > :after AND id < :before ORDER BY id LIMIT :n;

-- name: messages.aged_of_workspace (postgres)
-- By pairs: only the index by workspace has their order. Otherwise PostgreSQL searches the messages of all workspaces.
SELECT id, CASE WHEN status NOT IN ('queued', 'held', 'sending') AND updated_at < :settled_before THEN 1 ELSE 0 END FROM messages
WHERE (workspace_id, id) > (:workspace_id, :after) AND (workspace_id, id) < (:workspace_id, :before)
ORDER BY workspace_id, id LIMIT :n;

-- name: messages.delete
-- Delete messages, except those that were queued again since they were read.
DELETE FROM messages WHERE id IN @list(ids bigint) AND status NOT IN ('queued', 'held', 'sending') AND updated_at < :settled_before;

-- name: message_contents.delete
-- Delete the contents of deleted messages.
DELETE FROM message_contents WHERE message_id IN @list(ids bigint)
    AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = message_contents.message_id);

-- name: message_counts.add
-- Add to the hourly counts.
INSERT INTO message_counts (workspace_id, hour, connection_id, campaign, template_id, status, code, node, n) VALUES :rows
ON CONFLICT (workspace_id, hour, connection_id, campaign, template_id, status, code, node) DO UPDATE SET n = message_counts.n + excluded.n;

-- name: message_counts.list
-- Return the hourly counts of a workspace.
SELECT hour, connection_id, campaign, template_id, status, code, CAST(sum(n) AS bigint) FROM message_counts
WHERE workspace_id = :workspace_id AND hour >= :since AND hour < :until
GROUP BY hour, connection_id, campaign, template_id, status, code ORDER BY hour, connection_id, campaign, template_id, status, code;

-- name: message_counts.oldest
-- Return hours past their retention.
SELECT DISTINCT workspace_id, hour FROM message_counts WHERE hour < :before LIMIT :n;

-- name: message_counts.delete
-- Delete the counts of an hour.
DELETE FROM message_counts WHERE workspace_id = :workspace_id AND hour = :hour;

-- name: addresses.standing (sqlite)
-- Return the suppressions and subscriptions of a batch's addresses: [workspace, channel, address].
SELECT json_group_array(json_array(a.value ->> 0, a.value ->> 1, a.value ->> 2, s.reason, c.state)) FROM json_each(:addresses) a
LEFT JOIN suppressions s ON s.workspace_id = a.value ->> 0 AND s.channel = a.value ->> 1 AND s.address = a.value ->> 2
LEFT JOIN subscriptions c ON c.workspace_id = a.value ->> 0 AND c.channel = a.value ->> 1 AND c.address = a.value ->> 2
WHERE s.reason IS NOT NULL OR c.state IS NOT NULL;

-- name: addresses.standing (postgres)
-- One look-up by the primary key per address.
SELECT coalesce(json_agg(json_build_array(a.workspace_id, a.channel, a.address, s.reason, c.state)), '[]')::text FROM (
    SELECT (r ->> 0)::bigint AS workspace_id, r ->> 1 AS channel, r ->> 2 AS address FROM json_array_elements(:addresses::json) r
) a LEFT JOIN LATERAL (
    SELECT reason FROM suppressions WHERE workspace_id = a.workspace_id AND channel = a.channel AND address = a.address OFFSET 0
) s ON true LEFT JOIN LATERAL (
    SELECT state FROM subscriptions WHERE workspace_id = a.workspace_id AND channel = a.channel AND address = a.address OFFSET 0
) c ON true
WHERE s.reason IS NOT NULL OR c.state IS NOT NULL;

-- name: suppressions.add
-- Suppress addresses; an existing suppression stays.
INSERT INTO suppressions (workspace_id, channel, address, reason, connection_id, detail, created_at) VALUES :rows
ON CONFLICT (workspace_id, channel, address) DO NOTHING;

-- name: suppressions.list
-- Return a page of suppressions, by channel and address.
SELECT channel, address, reason, connection_id, detail, created_at FROM suppressions
WHERE workspace_id = :workspace_id AND (channel, address) > (:channel, :address) ORDER BY channel, address LIMIT :n;

-- name: suppressions.of_channel
-- Return a page of the suppressions of a channel, by address.
SELECT channel, address, reason, connection_id, detail, created_at FROM suppressions
WHERE workspace_id = :workspace_id AND channel = :channel AND address > :address ORDER BY address LIMIT :n;

-- name: suppressions.of_profile
-- Return the suppressions of the email addresses and phone numbers of a profile.
SELECT s.channel, s.address, s.reason, s.connection_id, s.detail, s.created_at FROM identities i JOIN suppressions s
    ON s.workspace_id = i.workspace_id AND s.address = i.value
    AND s.channel = CASE i.kind WHEN 'email' THEN 'email' WHEN 'phone' THEN 'sms' END
WHERE i.profile_id = :profile_id ORDER BY s.channel, s.address;

-- name: suppressions.get
-- Return the suppression of an address.
SELECT channel, address, reason, connection_id, detail, created_at FROM suppressions
WHERE workspace_id = :workspace_id AND channel = :channel AND address = :address;

-- name: suppressions.remove
-- Remove a suppression.
DELETE FROM suppressions WHERE workspace_id = :workspace_id AND channel = :channel AND address = :address;

-- name: buckets.add
-- Create token buckets.
INSERT INTO buckets (id, workspace_id, per_second, tokens, filled_at) VALUES :rows ON CONFLICT (id) DO NOTHING;

-- name: buckets.lock (sqlite)
-- Return token buckets before they change; SQLite has one writer. There is no time beside them: one process owns the file, so
-- its own clock fills them.
SELECT id, per_second, tokens, filled_at, NULL FROM buckets WHERE id IN @list(ids bigint);

-- name: buckets.lock (postgres)
-- Lock token buckets in the order of their ids, so that two transactions cannot deadlock. With each comes the time at which it was
-- locked: a row that another transaction changed meanwhile is read again, and its time with it.
SELECT id, per_second, tokens, filled_at, @now FROM buckets WHERE id IN @list(ids bigint) ORDER BY id FOR UPDATE;

-- name: buckets.take
-- Write the tokens of a bucket.
UPDATE buckets SET per_second = :per_second, tokens = :tokens, filled_at = :filled_at WHERE id = :id;

-- name: buckets.unused
-- Return buckets that no message has used for long. Those of connections are created again when they are used.
SELECT id FROM buckets WHERE filled_at < :before LIMIT :n;

-- name: buckets.delete
-- Delete buckets.
DELETE FROM buckets WHERE id IN @list(ids bigint);

-- name: unmatched.add
-- Store receipts without a message.
INSERT INTO unmatched_receipts (id, workspace_id, connection_id, provider_key, receipt, created_at) VALUES :rows;

-- name: unmatched.find
-- Return stored receipts with these keys of provider ids.
SELECT id, receipt FROM unmatched_receipts WHERE provider_key IN @list(keys bigint) ORDER BY id;

-- name: unmatched.again
-- Return receipts stored between two times, and whether their message is known now.
SELECT u.id, u.receipt, CASE WHEN EXISTS (SELECT 1 FROM messages m WHERE m.provider_key = u.provider_key) THEN 1 ELSE 0 END
FROM unmatched_receipts u WHERE u.id > :after AND u.id <= :upto ORDER BY u.id LIMIT :n;

-- name: unmatched.take (sqlite)
-- Return which of these receipts still exist; SQLite has one writer.
SELECT id FROM unmatched_receipts WHERE id IN @list(ids bigint) ORDER BY id;

-- name: unmatched.take (postgres)
-- Lock these receipts, so that one process applies each.
SELECT id FROM unmatched_receipts WHERE id IN @list(ids bigint) ORDER BY id FOR UPDATE;

-- name: unmatched.any
-- Return whether any receipt is stored.
SELECT 1 FROM unmatched_receipts LIMIT 1;

-- name: unmatched.delete
-- Delete stored receipts.
DELETE FROM unmatched_receipts WHERE id IN @list(ids bigint);

-- name: unmatched.older
-- Return receipts past their retention.
SELECT id FROM unmatched_receipts WHERE id < :before ORDER BY id LIMIT :n;

-- name: quarantine.add
-- Store unreadable callbacks.
INSERT INTO quarantine (id, workspace_id, connection_id, reason, body, created_at) VALUES :rows;

-- name: quarantine.list
-- Return a page of unreadable callbacks, newest first.
SELECT id, connection_id, reason, body, created_at FROM quarantine
WHERE workspace_id = :workspace_id AND id < :before ORDER BY id DESC LIMIT :n;

-- name: quarantine.older
-- Return unreadable callbacks past their retention.
SELECT id FROM quarantine WHERE id < :before ORDER BY id LIMIT :n;

-- name: quarantine.older_of_workspace (sqlite)
-- Return unreadable callbacks of a workspace past their retention.
SELECT id FROM quarantine WHERE workspace_id = :workspace_id AND id < :before ORDER BY id LIMIT :n;

-- name: quarantine.older_of_workspace (postgres)
-- By pairs, as for messages.
SELECT id FROM quarantine WHERE (workspace_id, id) > (:workspace_id, 0) AND (workspace_id, id) < (:workspace_id, :before)
ORDER BY workspace_id, id LIMIT :n;

-- name: quarantine.delete
-- Delete unreadable callbacks.
DELETE FROM quarantine WHERE id IN @list(ids bigint);
