-- Retries get their share, and an endpoint that fails for a whole schedule is disabled.

-- Since when every attempt failed; null after a success.
ALTER TABLE endpoints ADD COLUMN failing_since bigint;

-- Retries alone: they are claimed beside what is fresh.
CREATE INDEX deliveries_retries ON deliveries (endpoint_id, due_at, event_id) WHERE state = 'pending' AND tries > 0;
