-- The ledger of recipients, the parts in which their turns come, and the counts.

-- name: audience.of_list
-- Return a page of the members of a list, in a range of profiles.
SELECT m.profile_id FROM lists l JOIN list_members m ON m.list_id = l.id
WHERE l.workspace_id = :workspace_id AND l.id = :list_id AND l.deleted_at IS NULL
    AND m.profile_id > :after AND m.profile_id <= :upto AND m.state = 'subscribed'
ORDER BY m.profile_id LIMIT :n;

-- name: audience.of_profiles
-- Return which of these profiles exist.
SELECT id FROM profiles WHERE workspace_id = :workspace_id AND id IN @list(ids bigint) AND merged_into IS NULL ORDER BY id;

-- name: audience.lists
-- Return which of these lists exist.
SELECT id FROM lists WHERE workspace_id = :workspace_id AND id IN @list(ids bigint) AND deleted_at IS NULL;

-- name: audience.segments
-- Return which of these segments exist.
SELECT id FROM segments WHERE workspace_id = :workspace_id AND id IN @list(ids bigint) AND deleted_at IS NULL;

-- name: audience.hold_lists (sqlite)
-- Return which of these lists exist, for a transaction that depends on it; SQLite has one writer.
SELECT id FROM lists WHERE workspace_id = :workspace_id AND id IN @list(ids bigint) AND deleted_at IS NULL;

-- name: audience.hold_lists (postgres)
-- Nobody can delete them before the transaction ends.
SELECT id FROM lists WHERE workspace_id = :workspace_id AND id IN @list(ids bigint) AND deleted_at IS NULL ORDER BY id FOR SHARE;

-- name: audience.hold_segments (sqlite)
-- Return which of these segments exist, for a transaction that depends on it; SQLite has one writer.
SELECT id FROM segments WHERE workspace_id = :workspace_id AND id IN @list(ids bigint) AND deleted_at IS NULL;

-- name: audience.hold_segments (postgres)
-- Nobody can delete them before the transaction ends.
SELECT id FROM segments WHERE workspace_id = :workspace_id AND id IN @list(ids bigint) AND deleted_at IS NULL ORDER BY id FOR SHARE;

-- name: recipients.add
-- Put people into the ledger of an occurrence.
INSERT INTO recipients (occurrence_id, profile_id, status, reason, code, variant, message_id, due_at) VALUES :rows;

-- name: recipients.of_part
-- Return the recipients of a part whose turn has not come.
SELECT profile_id FROM recipients WHERE occurrence_id = :occurrence_id AND profile_id BETWEEN :first_id AND :last_id
    AND status = 'waiting' AND due_at = :due_at
ORDER BY profile_id;

-- name: recipients.hand_over (sqlite)
-- Note what became of recipients when their turn came.
WITH v (occurrence_id, profile_id, status, reason, variant, message_id, due_at) AS (VALUES :rows)
UPDATE recipients SET status = v.status, reason = v.reason, variant = v.variant, message_id = v.message_id, due_at = v.due_at
FROM v WHERE recipients.occurrence_id = v.occurrence_id AND recipients.profile_id = v.profile_id;

-- name: recipients.hand_over (postgres)
-- One look-up by the primary key per row.
UPDATE recipients t SET status = r ->> 2, reason = r ->> 3, variant = r ->> 4, message_id = (r ->> 5)::bigint,
    due_at = (r ->> 6)::bigint
FROM json_array_elements(:rows::json) r WHERE t.occurrence_id = (r ->> 0)::bigint AND t.profile_id = (r ->> 1)::bigint;

-- name: recipients.move (sqlite)
-- Set the statuses of recipients to those of their messages.
WITH v (occurrence_id, profile_id, status, reason, code) AS (VALUES :rows)
UPDATE recipients SET status = v.status, reason = v.reason, code = v.code
FROM v WHERE recipients.occurrence_id = v.occurrence_id AND recipients.profile_id = v.profile_id;

-- name: recipients.move (postgres)
-- One look-up by the primary key per row.
UPDATE recipients t SET status = r ->> 2, reason = r ->> 3, code = (r ->> 4)::bigint
FROM json_array_elements(:rows::json) r WHERE t.occurrence_id = (r ->> 0)::bigint AND t.profile_id = (r ->> 1)::bigint;

-- name: recipients.present
-- Return which of these profiles are recipients of an occurrence.
SELECT profile_id FROM recipients WHERE occurrence_id = :occurrence_id AND profile_id IN @list(ids bigint);

-- name: recipients.messages
-- Return messages of recipients that have this status now, with this reason (empty for any), and not with another one.
SELECT m.id FROM recipients r JOIN messages m ON m.id = r.message_id
WHERE r.occurrence_id = :occurrence_id AND r.status = :status AND m.status = :status
    AND (:reason = '' OR m.reason = :reason) AND (m.reason IS NULL OR m.reason <> :besides)
ORDER BY r.profile_id LIMIT :n;

-- name: recipients.prolong (sqlite)
-- Let messages expire later that a pause held up.
WITH v (id, expires_at) AS (VALUES :rows) UPDATE messages SET expires_at = v.expires_at FROM v WHERE messages.id = v.id;

-- name: recipients.prolong (postgres)
-- One look-up by the primary key per row.
UPDATE messages m SET expires_at = (r ->> 1)::bigint FROM json_array_elements(:rows::json) r WHERE m.id = (r ->> 0)::bigint;

-- name: recipients.waiting
-- Return a page of recipients whose turn has not come.
SELECT profile_id FROM recipients WHERE occurrence_id = :occurrence_id AND status = 'waiting' ORDER BY profile_id LIMIT :n;

-- name: recipients.skip
-- Skip recipients whose turn has not come.
UPDATE recipients SET status = 'skipped', reason = :reason
WHERE occurrence_id = :occurrence_id AND profile_id IN @list(ids bigint) AND status = 'waiting';

-- name: recipients.engaged (sqlite)
-- Return what recipients have done so far. One row of JSON, as in events.known.
SELECT json_group_array(json_array(r.occurrence_id, r.profile_id, r.variant, r.opened_at, r.clicked_at, r.converted_at, r.status, r.due_at))
FROM json_each(:keys) k CROSS JOIN recipients r WHERE r.occurrence_id = k.value ->> 0 AND r.profile_id = k.value ->> 1;

-- name: recipients.engaged (postgres)
-- They are locked in the order of their keys: the first click of a person is counted once.
SELECT coalesce(json_agg(json_build_array(r.occurrence_id, r.profile_id, r.variant, r.opened_at, r.clicked_at, r.converted_at, r.status,
    r.due_at)), '[]')::text
FROM json_array_elements(:keys::json) k CROSS JOIN LATERAL (
    SELECT * FROM recipients WHERE occurrence_id = (k ->> 0)::bigint AND profile_id = (k ->> 1)::bigint FOR UPDATE
) r;

-- name: recipients.engage (sqlite)
-- Note what recipients did first, and when.
WITH v (occurrence_id, profile_id, opened_at, clicked_at, converted_at) AS (VALUES :rows)
UPDATE recipients SET opened_at = v.opened_at, clicked_at = v.clicked_at, converted_at = v.converted_at
FROM v WHERE recipients.occurrence_id = v.occurrence_id AND recipients.profile_id = v.profile_id;

-- name: recipients.engage (postgres)
-- One look-up by the primary key per row.
UPDATE recipients t SET opened_at = (r ->> 2)::bigint, clicked_at = (r ->> 3)::bigint, converted_at = (r ->> 4)::bigint
FROM json_array_elements(:rows::json) r WHERE t.occurrence_id = (r ->> 0)::bigint AND t.profile_id = (r ->> 1)::bigint;

-- name: recipients.list
-- Return a page of the recipients of an occurrence; an empty status or reason stands for all.
SELECT r.profile_id, r.status, r.reason, r.code, r.variant, r.message_id, r.due_at, r.opened_at, r.clicked_at, r.converted_at, m.address
FROM recipients r LEFT JOIN messages m ON m.id = r.message_id
WHERE r.occurrence_id = :occurrence_id AND r.profile_id > :after AND (:status = '' OR r.status = :status)
    AND (:reason = '' OR r.reason = :reason) AND (:code = 0 OR r.code = :code)
ORDER BY r.profile_id LIMIT :n;

-- name: recipients.of_person
-- Return a page of what campaigns had for some profiles, the oldest occurrence first.
SELECT r.occurrence_id, r.profile_id, o.campaign_id, c.name, r.status, r.reason, r.code, r.variant, r.message_id, r.opened_at,
    r.clicked_at, r.converted_at
FROM recipients r JOIN occurrences o ON o.id = r.occurrence_id JOIN campaigns c ON c.id = o.campaign_id
WHERE r.profile_id IN @list(ids bigint) AND o.workspace_id = :workspace_id
    AND (r.occurrence_id, r.profile_id) > (:occurrence_id, :profile_id)
ORDER BY r.occurrence_id, r.profile_id LIMIT :n;

-- name: campaign_clicks.of_person
-- Return on which links profiles clicked first, and when.
SELECT occurrence_id, profile_id, link, clicked_at FROM campaign_clicks
WHERE occurrence_id IN @list(occurrences bigint) AND profile_id IN @list(ids bigint) ORDER BY occurrence_id, profile_id, clicked_at;

-- name: campaign_clicks.known (sqlite)
-- Return the links that recipients have clicked on. One row of JSON, as in events.known.
SELECT json_group_array(json_array(c.occurrence_id, c.profile_id, c.link)) FROM json_each(:keys) k CROSS JOIN campaign_clicks c
WHERE c.occurrence_id = k.value ->> 0 AND c.profile_id = k.value ->> 1 AND c.link = k.value ->> 2;

-- name: campaign_clicks.known (postgres)
-- Return the links that recipients have clicked on.
SELECT coalesce(json_agg(json_build_array(c.occurrence_id, c.profile_id, c.link)), '[]')::text
FROM json_array_elements(:keys::json) k CROSS JOIN LATERAL (
    SELECT * FROM campaign_clicks WHERE occurrence_id = (k ->> 0)::bigint AND profile_id = (k ->> 1)::bigint AND link = k ->> 2 OFFSET 0
) c;

-- name: campaign_clicks.add
-- Note the first click of a person on a link.
INSERT INTO campaign_clicks (occurrence_id, profile_id, link, clicked_at) VALUES :rows
ON CONFLICT (occurrence_id, profile_id, link) DO NOTHING;

-- name: occurrence_parts.add
-- Add parts of an occurrence.
INSERT INTO occurrence_parts (occurrence_id, due_at, first_id, last_id, recipients, node) VALUES :rows;

-- name: occurrence_parts.claim (sqlite)
-- Claim the first part of an occurrence that is due.
UPDATE occurrence_parts SET node = :node WHERE (occurrence_id, due_at, first_id) IN (
    SELECT occurrence_id, due_at, first_id FROM occurrence_parts
    WHERE occurrence_id = :occurrence_id AND due_at <= :now AND node IS NULL ORDER BY due_at, first_id LIMIT 1
) RETURNING due_at, first_id, last_id, recipients;

-- name: occurrence_parts.claim (postgres)
-- Several processes may claim at once; each skips the part that another one locks.
WITH due AS MATERIALIZED (
    SELECT occurrence_id, due_at, first_id FROM occurrence_parts
    WHERE occurrence_id = :occurrence_id AND due_at <= :now AND node IS NULL ORDER BY due_at, first_id LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE occurrence_parts p SET node = :node FROM due
WHERE p.occurrence_id = due.occurrence_id AND p.due_at = due.due_at AND p.first_id = due.first_id
RETURNING p.due_at, p.first_id, p.last_id, p.recipients;

-- name: occurrence_parts.due
-- Return the occurrences of live campaigns that have a part due.
SELECT DISTINCT p.occurrence_id FROM occurrence_parts p JOIN occurrences o ON o.id = p.occurrence_id JOIN campaigns c ON c.id = o.campaign_id
WHERE p.node IS NULL AND p.due_at <= :now AND c.state = 'live';

-- name: occurrence_parts.next
-- Return when the next part of any occurrence is due.
SELECT min(p.due_at) FROM occurrence_parts p WHERE p.node IS NULL AND p.due_at > :now;

-- name: occurrence_parts.delete
-- Delete a part that this node claimed.
DELETE FROM occurrence_parts WHERE occurrence_id = :occurrence_id AND due_at = :due_at AND first_id = :first_id AND node = :node;

-- name: occurrence_parts.delete_all
-- Delete the parts of an occurrence.
DELETE FROM occurrence_parts WHERE occurrence_id = :occurrence_id;

-- name: occurrence_parts.release
-- Release the parts that a node claimed.
UPDATE occurrence_parts SET node = NULL WHERE node = :node;

-- name: occurrence_parts.orphan
-- Release the parts of evicted nodes.
UPDATE occurrence_parts SET node = NULL WHERE node IN @list(nodes bigint);

-- name: occurrence_parts.orphan_all
-- Release all parts.
UPDATE occurrence_parts SET node = NULL WHERE node IS NOT NULL;

-- name: campaign_counts.add
-- Add to the counts of occurrences.
INSERT INTO campaign_counts (occurrence_id, kind, key, code, variant, hour, node, n) VALUES :rows
ON CONFLICT (occurrence_id, kind, key, code, variant, hour, node) DO UPDATE SET n = campaign_counts.n + excluded.n;

-- name: campaign_counts.statuses
-- Return how many recipients of occurrences have each status.
SELECT occurrence_id, key, CAST(sum(n) AS bigint) FROM campaign_counts WHERE occurrence_id IN @list(ids bigint) AND kind = 'status'
GROUP BY occurrence_id, key;

-- name: campaign_counts.sums
-- Return the counts of occurrences, without the hours.
SELECT kind, key, code, variant, CAST(sum(n) AS bigint) FROM campaign_counts WHERE occurrence_id IN @list(ids bigint)
GROUP BY kind, key, code, variant;

-- name: campaign_counts.hours
-- Return the counts of occurrences by the hour, for a time series.
SELECT hour, kind, CAST(sum(n) AS bigint) FROM campaign_counts
WHERE occurrence_id IN @list(ids bigint) AND hour > 0 AND kind IN ('sent', 'delivered', 'failed', 'opened', 'clicked', 'unsubscribed', 'converted')
GROUP BY hour, kind ORDER BY hour, kind;

-- name: recipients.aged
-- Return recipients of occurrences before a time.
SELECT occurrence_id, profile_id FROM recipients WHERE occurrence_id < :before ORDER BY occurrence_id, profile_id LIMIT :n;

-- name: recipients.delete
-- Delete a range of the recipients of an occurrence.
DELETE FROM recipients WHERE occurrence_id = :occurrence_id AND profile_id BETWEEN :first_id AND :last_id;

-- name: campaign_clicks.delete
-- Delete the first clicks of a range of recipients.
DELETE FROM campaign_clicks WHERE occurrence_id = :occurrence_id AND profile_id BETWEEN :first_id AND :last_id;
