-- Events by type, for the feed of a metric.

CREATE INDEX events_by_type ON events (workspace_id, type, id);
