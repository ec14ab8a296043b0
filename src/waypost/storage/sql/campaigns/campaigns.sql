-- Campaigns and their occurrences.

-- name: campaigns.add
-- Create a campaign.
INSERT INTO campaigns (id, workspace_id, name, channel, state, definition, next_at, version, launched_at, ended_at, reason, created_at,
    updated_at, deleted_at)
VALUES (:id, :workspace_id, :name, :channel, 'draft', :definition, NULL, 1, NULL, NULL, NULL, :now, :now, NULL);

-- name: campaigns.get
-- Return a campaign.
SELECT * FROM campaigns WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL;

-- name: campaigns.lock (sqlite)
-- Return a campaign before it changes; SQLite has one writer.
SELECT * FROM campaigns WHERE id = :id AND deleted_at IS NULL;

-- name: campaigns.lock (postgres)
-- Lock it, so that its state does not change under what is decided by it.
SELECT * FROM campaigns WHERE id = :id AND deleted_at IS NULL FOR UPDATE;

-- name: campaigns.hold (sqlite)
-- Return the state of a campaign, for a transaction that depends on it; SQLite has one writer.
SELECT state FROM campaigns WHERE id = :id;

-- name: campaigns.hold (postgres)
-- Several processes hand out messages of a campaign at once; none can pause it meanwhile.
SELECT state FROM campaigns WHERE id = :id FOR SHARE;

-- name: campaigns.list
-- Return a page of campaigns, newest first; `state` is empty for all.
SELECT * FROM campaigns WHERE workspace_id = :workspace_id AND id < :before AND deleted_at IS NULL
    AND (:state = '' OR state = :state)
ORDER BY id DESC LIMIT :n;

-- name: campaigns.count
-- Return how many campaigns a workspace has.
SELECT count(*) FROM campaigns WHERE workspace_id = :workspace_id AND deleted_at IS NULL;

-- name: campaigns.change
-- Change what a user sets.
UPDATE campaigns SET name = :name, definition = :definition, next_at = :next_at, version = version + 1, updated_at = :now
WHERE id = :id;

-- name: campaigns.move
-- Change the state of a campaign.
UPDATE campaigns SET state = :state, next_at = :next_at, launched_at = :launched_at, ended_at = :ended_at, reason = :reason,
    updated_at = :now
WHERE id = :id;

-- name: campaigns.delete
-- Mark a campaign as deleted.
UPDATE campaigns SET deleted_at = :now WHERE id = :id;

-- name: campaigns.due
-- Return campaigns whose next occurrence is due.
SELECT id FROM campaigns WHERE next_at <= :now AND state IN ('scheduled', 'live') AND deleted_at IS NULL ORDER BY next_at LIMIT :n;

-- name: campaigns.next
-- Return when the next occurrence of any campaign is due.
SELECT min(next_at) FROM campaigns WHERE next_at IS NOT NULL AND state IN ('scheduled', 'live') AND deleted_at IS NULL;

-- name: occurrences.add
-- Begin an occurrence. One for the same time is a conflict: another process began it.
INSERT INTO occurrences (id, workspace_id, campaign_id, planned_at, state, list_id, cursor_id, audience, throttle_id, winner, created_at,
    ended_at)
VALUES (:id, :workspace_id, :campaign_id, :planned_at, 'preparing', :list_id, 0, 0, :throttle_id, NULL, :now, NULL);

-- name: occurrences.open
-- Return the occurrences that are not over, with their campaigns.
SELECT o.id, o.workspace_id, o.campaign_id, o.planned_at, o.state, o.cursor_id, o.audience, o.throttle_id, o.winner,
    o.decided_at, o.created_at, c.state AS campaign_state, c.name, c.channel, c.definition, c.version
FROM occurrences o JOIN campaigns c ON c.id = o.campaign_id WHERE o.state IN ('preparing', 'sending') ORDER BY o.id;

-- name: occurrences.of_campaign
-- Return the occurrences of a campaign, newest first.
SELECT * FROM occurrences WHERE campaign_id = :campaign_id ORDER BY id DESC LIMIT :n;

-- name: occurrences.of_campaigns
-- Return the latest occurrences of each of several campaigns, newest first.
SELECT * FROM (
    SELECT o.*, row_number() OVER (PARTITION BY o.campaign_id ORDER BY o.id DESC) AS place FROM occurrences o
    WHERE o.campaign_id IN @list(ids bigint)
) latest WHERE place <= :n ORDER BY id DESC;

-- name: occurrences.campaign
-- Return the campaign of an occurrence.
SELECT campaign_id FROM occurrences WHERE id = :id;

-- name: occurrences.advance
-- Note up to which profile the audience is decided, unless another process did.
UPDATE occurrences SET cursor_id = :cursor_id, audience = audience + :added, state = :state
WHERE id = :id AND cursor_id = :was AND state = 'preparing';

-- name: occurrences.end
-- End an occurrence that is open.
UPDATE occurrences SET state = :state, ended_at = :now WHERE id = :id AND state IN ('preparing', 'sending');

-- name: occurrences.count_open
-- Return how many occurrences of a campaign are not over.
SELECT count(*) FROM occurrences WHERE campaign_id = :campaign_id AND state IN ('preparing', 'sending');

-- name: occurrences.set_throttle
-- Give an occurrence the throttle of its campaign.
UPDATE occurrences SET throttle_id = :throttle_id WHERE id = :id;

-- name: occurrences.decide
-- Note the variant that won the test of an occurrence, or null if none did; the first decision counts.
UPDATE occurrences SET winner = :winner, decided_at = :now WHERE id = :id AND decided_at IS NULL;

-- name: occurrences.winner
-- Return the variant that won the test of an occurrence, and when that was decided.
SELECT winner, decided_at FROM occurrences WHERE id = :id;

-- name: occurrences.goals
-- Return the occurrences of workspaces since a time, with what their campaigns say.
SELECT o.workspace_id, o.id, c.definition, c.state FROM occurrences o JOIN campaigns c ON c.id = o.campaign_id
WHERE o.workspace_id IN @list(ids bigint) AND o.id >= :since ORDER BY o.id;

-- name: buckets.set_rate
-- Change the rate of a bucket.
UPDATE buckets SET per_second = :per_second WHERE id = :id;
