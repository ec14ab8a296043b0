-- Messages that wait for their next try, whichever connection they go through.

CREATE INDEX messages_retries ON messages (due_at, id) WHERE status = 'queued' AND tries > 0;
