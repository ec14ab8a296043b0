-- The mailboxes that bounces are read from.

-- name: bounce_mailboxes.waiting
-- Return which of these mailboxes are not due yet.
SELECT connection_id FROM bounce_mailboxes WHERE connection_id IN @list(ids bigint) AND due_at > :now;

-- name: bounce_mailboxes.claim
-- Claim a mailbox that is due until a time; the number of rows says whether this process got it.
INSERT INTO bounce_mailboxes (connection_id, due_at) VALUES (:connection_id, :until)
ON CONFLICT (connection_id) DO UPDATE SET due_at = :until WHERE bounce_mailboxes.due_at <= :now;

-- name: bounce_mailboxes.release
-- Give back a mailbox that was claimed until a time, and say when it is due again.
UPDATE bounce_mailboxes SET due_at = :due_at WHERE connection_id = :connection_id AND due_at = :until;
