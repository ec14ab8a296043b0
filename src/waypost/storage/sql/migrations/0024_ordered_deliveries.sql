-- Endpoints that get the events of one subject in order, and endpoints whose requests go through a connection.

-- 1: a delivery waits until the one before it, of the same subject, is delivered or dead.
ALTER TABLE endpoints ADD COLUMN ordered bigint NOT NULL DEFAULT 0;
-- The connection with the address and the key of an endpoint whose format is that of a marketing tool.
ALTER TABLE endpoints ADD COLUMN connection_id bigint;

-- A digest of what the event is about; only for endpoints that are ordered.
ALTER TABLE deliveries ADD COLUMN subject bigint;
-- The event whose delivery must end first; then due_at is far ahead.
ALTER TABLE deliveries ADD COLUMN waits_for bigint;
-- Both indexes begin with what no other index has: without statistics, PostgreSQL would take that of all pending deliveries
-- of an endpoint for as good.
CREATE INDEX deliveries_by_subject ON deliveries (subject, endpoint_id, event_id) WHERE state = 'pending' AND subject IS NOT NULL;
CREATE INDEX deliveries_waiting ON deliveries (waits_for, endpoint_id) WHERE state = 'pending' AND waits_for IS NOT NULL;
