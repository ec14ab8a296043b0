-- What waits at a connection that does not send: what may go through another one, and what is past its time.

CREATE INDEX messages_waiting ON messages (connection_id, pinned, expires_at, id) WHERE status = 'queued';
