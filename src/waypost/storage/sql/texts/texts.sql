-- Clients of the text-message API, and their texts.

-- name: text_clients.add
-- Create a client.
INSERT INTO text_clients (id, workspace_id, name, client_id, secrets, rate_limit, check_links, utm, connection_id, callback, endpoint_id,
    default_metric, max_matches, created_at, updated_at, deleted_at)
VALUES (:id, :workspace_id, :name, :client_id, :secrets, :rate_limit, :check_links, :utm, :connection_id, :callback, :endpoint_id,
    :default_metric, :max_matches, :now, :now, NULL);

-- name: text_clients.change
-- Change the settings of a client.
UPDATE text_clients SET name = :name, rate_limit = :rate_limit, check_links = :check_links, utm = :utm, connection_id = :connection_id,
    callback = :callback, endpoint_id = :endpoint_id, default_metric = :default_metric, max_matches = :max_matches, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: text_clients.set_secrets
-- Replace the digests of the secrets of a client.
UPDATE text_clients SET secrets = :secrets, updated_at = :now WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: text_clients.delete
-- Mark a client as deleted.
UPDATE text_clients SET deleted_at = :now WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: text_clients.get
-- Return a client.
SELECT * FROM text_clients WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: text_clients.list
-- Return a page of clients, newest first.
SELECT * FROM text_clients WHERE workspace_id = :workspace_id AND id < :before AND deleted_at IS NULL ORDER BY id DESC LIMIT :n;

-- name: text_clients.count
-- Return how many clients a workspace has.
SELECT count(*) FROM text_clients WHERE workspace_id = :workspace_id AND deleted_at IS NULL;

-- name: text_clients.find
-- Return the client with an X-Client-ID.
SELECT * FROM text_clients WHERE client_id = :client_id AND deleted_at IS NULL;

-- name: text_clients.of_endpoints
-- Return the clients whose callbacks are these endpoints.
SELECT endpoint_id, id, name FROM text_clients
WHERE workspace_id = :workspace_id AND endpoint_id IN @list(ids bigint) AND deleted_at IS NULL;

-- name: texts.insert
-- Record what the statuses of texts are reported with.
INSERT INTO texts (message_id, client_id, metric, purpose, callback_data) VALUES :rows;

-- name: texts.many
-- Return what the statuses of texts are reported with.
SELECT t.message_id, t.metric, t.purpose, t.callback_data, c.client_id FROM texts t LEFT JOIN text_clients c ON c.id = t.client_id
WHERE t.message_id IN @list(ids bigint);

-- name: texts.delete
-- Delete the texts of deleted messages.
DELETE FROM texts WHERE message_id IN @list(ids bigint) AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = texts.message_id);

-- name: text_repeats.find
-- Return the texts of the last 24 hours with these digests. One that will never leave has expired.
SELECT r.digest, r.message_id, CASE WHEN m.status = 'skipped' OR (m.status = 'failed' AND m.reason IN ('link_failed', 'expired'))
    THEN 0 ELSE r.expires_at END
FROM text_repeats r LEFT JOIN messages m ON m.id = r.message_id WHERE r.digest IN @list(digests text);

-- name: text_repeats.forget
-- Delete the given digests if they have expired, or their texts will never leave.
DELETE FROM text_repeats WHERE digest IN @list(digests text) AND (expires_at <= :now OR EXISTS (SELECT 1 FROM messages m
    WHERE m.id = text_repeats.message_id AND (m.status = 'skipped' OR (m.status = 'failed' AND m.reason IN ('link_failed', 'expired')))));

-- name: text_repeats.insert
-- Remember texts. A digest that another process has just recorded is a conflict, after which the batch is tried again.
INSERT INTO text_repeats (digest, message_id, expires_at) VALUES :rows;

-- name: text_repeats.prune
-- Delete expired digests.
DELETE FROM text_repeats WHERE digest IN (SELECT digest FROM text_repeats WHERE expires_at <= :now ORDER BY expires_at LIMIT :n);

-- name: text_link_checks.insert
-- Queue link checks.
INSERT INTO text_link_checks (message_id, workspace_id, urls, due_at) VALUES :rows;

-- name: text_link_checks.due
-- Return link checks that are due.
SELECT message_id FROM text_link_checks WHERE due_at <= :now ORDER BY due_at LIMIT :n;

-- name: text_link_checks.claim (sqlite)
-- Put link checks that are due off, while this process makes them.
UPDATE text_link_checks SET due_at = :due_at WHERE message_id IN (
    SELECT message_id FROM text_link_checks WHERE due_at <= :now ORDER BY due_at LIMIT :n
) RETURNING message_id, urls;

-- name: text_link_checks.claim (postgres)
-- Several processes may claim at once; each skips the rows that another one locks.
WITH due AS MATERIALIZED (
    SELECT message_id FROM text_link_checks WHERE due_at <= :now ORDER BY due_at LIMIT :n FOR UPDATE SKIP LOCKED
)
UPDATE text_link_checks t SET due_at = :due_at FROM due WHERE t.message_id = due.message_id RETURNING t.message_id, t.urls;

-- name: text_link_checks.delete
-- Delete link checks.
DELETE FROM text_link_checks WHERE message_id IN @list(ids bigint);
