-- Operator notifications.

-- name: notices.add
-- Store notices.
INSERT INTO notices (id, workspace_id, kind, about, recipient, subject, body, state, tries, due_at, error, created_at) VALUES :rows;

-- name: notices.list
-- Return a page of notices, newest first; not the mails to users, whose links are secret.
SELECT * FROM notices WHERE workspace_id = :workspace_id AND kind NOT IN ('invitation', 'password_reset') AND id < :before ORDER BY id DESC LIMIT :n;

-- name: notices.due
-- Return notices that are due to be mailed.
SELECT id, recipient, subject, body, tries FROM notices WHERE state = 'pending' AND due_at <= @now ORDER BY due_at LIMIT :n;

-- name: notices.claim
-- Reserve a notice for this process until the lease ends, by the database's clock.
UPDATE notices SET due_at = @now + CAST(:lease AS bigint) WHERE id = :id AND state = 'pending' AND due_at <= @now;

-- name: notices.settle
-- Record the result of mailing a notice. The secret link of a mail to a user is not kept longer than needed.
UPDATE notices SET state = :state, tries = tries + 1, due_at = :due_at, error = :error,
    body = CASE WHEN kind IN ('invitation', 'password_reset') AND :state <> 'pending' THEN '' ELSE body END
WHERE id = :id;
