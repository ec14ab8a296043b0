-- Retries have their own share of a claim, and an endpoint that fails for a whole schedule is disabled.

-- Since when every attempt has failed; null after a success.
ALTER TABLE endpoints ADD COLUMN failing_since bigint;

-- Only retries, which are claimed apart from new deliveries.
CREATE INDEX deliveries_retries ON deliveries (endpoint_id, due_at, event_id) WHERE state = 'pending' AND tries > 0;
