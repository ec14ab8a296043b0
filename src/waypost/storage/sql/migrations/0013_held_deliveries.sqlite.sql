-- When a process starts, it releases the deliveries that its predecessor held. With the holder in the index of pending
-- deliveries, it finds those few thousand among millions without reading a row of the table.

DROP INDEX deliveries_pending;
CREATE INDEX deliveries_pending ON deliveries (endpoint_id, due_at, event_id, node) WHERE state = 'pending';
