-- Metrics: the names of tracked events and of the flows whose texts report their status, with counts over time.

CREATE TABLE metrics (
    id {key},
    workspace_id bigint NOT NULL,
    source text NOT NULL CHECK (source IN ('track', 'text')),
    -- What identifies it within its source: the event type of a tracked metric, the name of one of texts. Empty for the
    -- metric that counts the events of all names over the limit.
    key text NOT NULL,
    name text NOT NULL,
    created_at bigint NOT NULL,
    UNIQUE (workspace_id, source, key)
);
CREATE INDEX metrics_by_workspace ON metrics (workspace_id, id);

-- Events of a metric by the time at which they occurred. The end of the interval comes first: no interval ends between
-- the present quarter of an hour and the present day, so all that a batch counts lies side by side at the end of the
-- table, in few pages. Several rows per key, as in endpoint_counts.
CREATE TABLE metric_counts (
    workspace_id bigint NOT NULL,
    ends_at bigint NOT NULL,
    -- The length of the interval: 15, or 1440 for a day in UTC.
    minutes bigint NOT NULL,
    metric_id bigint NOT NULL,
    -- Empty where events have no status.
    status text NOT NULL,
    node bigint NOT NULL,
    -- When the last of them was recorded.
    last_at bigint NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (workspace_id, ends_at, minutes, metric_id, status, node)
){clustered};

-- The statuses that events of a metric have had; empty for none.
CREATE TABLE metric_statuses (
    metric_id bigint NOT NULL,
    status text NOT NULL,
    PRIMARY KEY (metric_id, status)
){clustered};

-- The events of metrics that no type of event leads to: those of texts, and those over the limit.
CREATE TABLE metric_events (
    metric_id bigint NOT NULL,
    status text NOT NULL,
    event_id bigint NOT NULL,
    PRIMARY KEY (metric_id, status, event_id)
){clustered};

INSERT INTO metrics (id, workspace_id, source, key, name, created_at)
SELECT row_number() OVER (ORDER BY created_at, workspace_id, type), workspace_id, 'track', type, metric, created_at
FROM event_types;

INSERT INTO metric_counts (workspace_id, ends_at, minutes, metric_id, status, node, last_at, n)
SELECT e.workspace_id, (e.occurred_at / (i.minutes * 60000000) + 1) * (i.minutes * 60000000), i.minutes, m.id, '', 0, max((e.id >> 12) + 1577836800000000), count(*)
FROM events e JOIN metrics m ON m.workspace_id = e.workspace_id AND m.source = 'track' AND m.key = e.type
CROSS JOIN (SELECT CAST(15 AS bigint) AS minutes UNION ALL SELECT 1440) i
GROUP BY 1, 2, 3, 4;

INSERT INTO metric_statuses (metric_id, status) SELECT id, '' FROM metrics;
