-- Metrics, their counts, and the events of metrics that no event type leads to.

-- name: metrics.find
-- Return the metrics with these keys; keys of other workspaces may be among them.
SELECT id, workspace_id, source, key FROM metrics
WHERE workspace_id IN @list(workspaces bigint) AND source IN ('track', 'text') AND key IN @list(keys text);

-- name: metrics.lock (sqlite)
-- Return workspaces in which metrics are about to be created; SQLite has one writer.
SELECT id FROM workspaces WHERE id IN @list(ids bigint) ORDER BY id;

-- name: metrics.lock (postgres)
-- Lock workspaces in which metrics are about to be created, in the order of their ids, so that the limit holds.
SELECT id FROM workspaces WHERE id IN @list(ids bigint) ORDER BY id FOR NO KEY UPDATE;

-- name: metrics.number
-- Count the metrics of workspaces.
SELECT workspace_id, count(*) FROM metrics WHERE workspace_id IN @list(ids bigint) GROUP BY workspace_id;

-- name: metrics.all
-- Return all metrics of a workspace.
SELECT id, source, key FROM metrics WHERE workspace_id = :workspace_id;

-- name: metrics.insert
-- Create metrics.
INSERT INTO metrics (id, workspace_id, source, key, name, created_at) VALUES :rows;

-- name: metrics.list
-- Return a page of the metrics of a workspace, newest first.
SELECT id, source, key, name, created_at FROM metrics
WHERE workspace_id = :workspace_id AND id < :before ORDER BY id DESC LIMIT :n;

-- name: metrics.get
-- Return a metric.
SELECT id, source, key, name, created_at FROM metrics WHERE workspace_id = :workspace_id AND id = :id;

-- name: metric_counts.add
-- Add to the counts of metrics.
INSERT INTO metric_counts (workspace_id, ends_at, minutes, metric_id, status, node, last_at, n) VALUES :rows
ON CONFLICT (workspace_id, ends_at, minutes, metric_id, status, node) DO UPDATE SET n = metric_counts.n + excluded.n,
    last_at = CASE WHEN excluded.last_at > metric_counts.last_at THEN excluded.last_at ELSE metric_counts.last_at END;

-- name: metric_counts.totals (sqlite)
-- Return the counts of a range of metrics in the days of a period, and in those since a later day, by status: one
-- look-up per day.
WITH RECURSIVE days (starts_at) AS (
    SELECT CAST(:since AS INTEGER) UNION ALL SELECT starts_at + 86400000000 FROM days WHERE starts_at + 86400000000 < :until
)
SELECT c.metric_id, c.status, max(c.last_at), CAST(sum(c.n) AS bigint),
    CAST(sum(CASE WHEN d.starts_at >= :recent THEN c.n ELSE 0 END) AS bigint)
FROM days d CROSS JOIN metric_counts c
WHERE c.workspace_id = :workspace_id AND c.ends_at = d.starts_at + 86400000000 AND c.minutes = 1440
    AND c.metric_id BETWEEN :first AND :last
GROUP BY c.metric_id, c.status;

-- name: metric_counts.totals (postgres)
-- Return the counts of a range of metrics in the days of a period, and in those since a later day, by status: one
-- look-up per day.
SELECT c.metric_id, c.status, max(c.last_at), CAST(sum(c.n) AS bigint),
    CAST(coalesce(sum(c.n) FILTER (WHERE d.starts_at >= :recent), 0) AS bigint)
FROM generate_series(CAST(:since AS bigint), CAST(:until AS bigint) - 1, 86400000000) d (starts_at) CROSS JOIN LATERAL (
    SELECT metric_id, status, last_at, n FROM metric_counts
    WHERE workspace_id = :workspace_id AND ends_at = d.starts_at + 86400000000 AND minutes = 1440
        AND metric_id BETWEEN :first AND :last OFFSET 0
) c GROUP BY c.metric_id, c.status;

-- name: metric_counts.timeline (sqlite)
-- Return the sums of a metric's counts over spans (number, start, end, minutes, sign) by number and status: one look-up
-- per counted interval.
WITH RECURSIVE parts (number, ends_at, until, minutes, sign) AS (
    SELECT value ->> 0, (value ->> 1) + (value ->> 3) * 60000000, value ->> 2, value ->> 3, value ->> 4
    FROM json_each(:spans)
    UNION ALL
    SELECT number, ends_at + minutes * 60000000, until, minutes, sign FROM parts WHERE ends_at < until
)
SELECT p.number, c.status, CAST(sum(c.n * p.sign) AS bigint) FROM parts p CROSS JOIN metric_counts c
WHERE c.workspace_id = :workspace_id AND c.ends_at = p.ends_at AND c.minutes = p.minutes AND c.metric_id = :metric_id
GROUP BY p.number, c.status;

-- name: metric_counts.timeline (postgres)
-- Return the sums of a metric's counts over spans (number, start, end, minutes, sign) by number and status: one look-up
-- per counted interval.
SELECT p.number, c.status, CAST(sum(c.n * p.sign) AS bigint)
FROM (
    SELECT (s ->> 0)::bigint AS number, (s ->> 1)::bigint AS since, (s ->> 2)::bigint AS until,
        (s ->> 3)::bigint AS minutes, (s ->> 4)::bigint AS sign FROM json_array_elements(:spans::json) s
) p CROSS JOIN LATERAL generate_series(p.since, p.until - 1, p.minutes * 60000000) q (starts_at) CROSS JOIN LATERAL (
    SELECT status, n FROM metric_counts
    WHERE workspace_id = :workspace_id AND ends_at = q.starts_at + p.minutes * 60000000 AND minutes = p.minutes
        AND metric_id = :metric_id OFFSET 0
) c GROUP BY p.number, c.status;

-- name: metric_counts.oldest
-- Return ends of intervals past their retention.
SELECT DISTINCT c.workspace_id, c.ends_at FROM workspaces w CROSS JOIN metric_counts c
WHERE c.workspace_id = w.id AND c.ends_at <= :before LIMIT :n;

-- name: metric_counts.oldest_of_workspace
-- Return ends of intervals of a workspace past their retention.
SELECT DISTINCT workspace_id, ends_at FROM metric_counts
WHERE workspace_id = :workspace_id AND ends_at <= :before LIMIT :n;

-- name: metric_counts.delete
-- Delete the counts of the intervals that end at a time.
DELETE FROM metric_counts WHERE workspace_id = :workspace_id AND ends_at = :ends_at;

-- name: metric_statuses.list
-- Return the statuses of a metric.
SELECT status FROM metric_statuses WHERE metric_id = :metric_id ORDER BY status;

-- name: metric_statuses.insert
-- Record statuses that are new to their metrics.
INSERT INTO metric_statuses (metric_id, status) VALUES :rows ON CONFLICT (metric_id, status) DO NOTHING;

-- name: metric_events.insert
-- Record which events belong to metrics that no event type leads to.
INSERT INTO metric_events (metric_id, status, event_id) VALUES :rows;

-- name: metric_events.list (sqlite)
-- Return a page of the events of a metric with any of these statuses, newest first: of each status the newest keys.
SELECT id, message_id, type, profile_id, occurred_at, data FROM events WHERE id IN (
    SELECT k.event_id FROM json_each(:statuses) s CROSS JOIN metric_events k
    WHERE k.metric_id = :metric_id AND k.status = s.value AND k.event_id < :before AND k.event_id >= coalesce((
        SELECT event_id FROM metric_events WHERE metric_id = :metric_id AND status = s.value AND event_id < :before
        ORDER BY event_id DESC LIMIT 1 OFFSET :n - 1
    ), 0) ORDER BY k.event_id DESC LIMIT :n
) ORDER BY id DESC;

-- name: metric_events.list (postgres)
-- Return a page of the events of a metric with any of these statuses, newest first: of each status the newest keys.
WITH keys AS MATERIALIZED (
    SELECT k.event_id FROM unnest(CAST(:statuses AS text[])) s (status) CROSS JOIN LATERAL (
        SELECT event_id FROM metric_events WHERE metric_id = :metric_id AND status = s.status AND event_id < :before
        ORDER BY event_id DESC LIMIT :n
    ) k ORDER BY k.event_id DESC LIMIT :n
)
SELECT e.id, e.message_id, e.type, e.profile_id, e.occurred_at, e.data FROM keys k JOIN events e ON e.id = k.event_id
ORDER BY e.id DESC;

-- name: metric_events.older
-- Return entries of events before an id: one look-up per metric and status.
SELECT k.metric_id, k.status, k.event_id FROM metric_statuses s CROSS JOIN metric_events k
WHERE k.metric_id = s.metric_id AND k.status = s.status AND k.event_id < :before LIMIT :n;

-- name: metric_events.older_of_workspace
-- Return entries of a workspace's events before an id: one look-up per metric and status.
SELECT k.metric_id, k.status, k.event_id FROM metrics m CROSS JOIN metric_statuses s CROSS JOIN metric_events k
WHERE m.workspace_id = :workspace_id AND s.metric_id = m.id AND k.metric_id = s.metric_id AND k.status = s.status
    AND k.event_id < :before LIMIT :n;

-- name: metric_events.delete (sqlite)
-- Delete entries of events.
DELETE FROM metric_events WHERE (metric_id, status, event_id) IN (
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:rows)
);

-- name: metric_events.delete (postgres)
-- Delete entries of events.
DELETE FROM metric_events k USING json_array_elements(:rows::json) r
WHERE k.metric_id = (r ->> 0)::bigint AND k.status = r ->> 1 AND k.event_id = (r ->> 2)::bigint;
