-- Queued messages of connections that do not send: those that others may send, and those that are expired.

CREATE INDEX messages_waiting ON messages (connection_id, pinned, expires_at, id) WHERE status = 'queued';
