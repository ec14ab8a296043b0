-- The mailboxes that bounces are read from: one for each connection that names one.

CREATE TABLE bounce_mailboxes (
    connection_id {key},
    -- When it is read next. A process that reads it moves this ahead first, so that no other one does.
    due_at bigint NOT NULL
);
