-- Senders of a workspace.

-- name: senders.list
-- Return a page of the senders of a workspace, newest first.
SELECT id, channel, address, name, reply_to, is_default, created_at, updated_at FROM senders
WHERE workspace_id = :workspace_id AND id < :before ORDER BY id DESC LIMIT :n;

-- name: senders.get
-- Return one sender.
SELECT id, channel, address, name, reply_to, is_default, created_at, updated_at FROM senders
WHERE workspace_id = :workspace_id AND id = :id;

-- name: senders.count
-- Count the senders of a workspace, and those with the same address and name as another one.
SELECT count(*), count(CASE WHEN channel = :channel AND address = :address AND name = :name AND id <> :id THEN 1 END) FROM senders
WHERE workspace_id = :workspace_id;

-- name: senders.add
-- Store a sender.
INSERT INTO senders (id, workspace_id, channel, address, name, reply_to, is_default, created_at, updated_at)
VALUES (:id, :workspace_id, :channel, :address, :name, :reply_to, :is_default, :now, :now);

-- name: senders.change
-- Change a sender.
UPDATE senders SET address = :address, name = :name, reply_to = :reply_to, is_default = :is_default, updated_at = :now
WHERE workspace_id = :workspace_id AND id = :id;

-- name: senders.no_default
-- Let no sender of a channel be the default one.
UPDATE senders SET is_default = 0 WHERE workspace_id = :workspace_id AND channel = :channel AND is_default = 1;

-- name: senders.delete
-- Delete a sender.
DELETE FROM senders WHERE workspace_id = :workspace_id AND id = :id;

-- name: senders.defaults
-- Return the default senders of workspaces.
SELECT workspace_id, channel, address, name, reply_to FROM senders WHERE workspace_id IN @list(ids bigint) AND is_default = 1;
