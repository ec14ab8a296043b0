-- The decision of a test of variants is stored also when no variant won.

-- When it was decided; null before.
ALTER TABLE occurrences ADD COLUMN decided_at bigint;
UPDATE occurrences SET decided_at = created_at WHERE winner IS NOT NULL;
