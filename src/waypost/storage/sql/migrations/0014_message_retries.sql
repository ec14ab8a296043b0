-- Messages that wait for a retry, whatever their connection.

CREATE INDEX messages_retries ON messages (due_at, id) WHERE status = 'queued' AND tries > 0;
