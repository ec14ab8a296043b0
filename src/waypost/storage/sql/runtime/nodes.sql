-- The processes that share the database, and its clock.

-- name: clock.now
-- Return the time of the database.
SELECT @now;

-- name: nodes.list
-- Return all nodes. Here and below, times are those of the database's clock, because nodes on several machines compare them.
SELECT id, token, @now - seen_at AS unseen FROM nodes ORDER BY id;

-- name: nodes.add
-- Register a node.
INSERT INTO nodes (id, token, host, sends, started_at, seen_at) VALUES (:id, :token, :host, :sends, @now, @now);

-- name: nodes.seen
-- Record a heartbeat. Changes nothing when another node has evicted this one.
UPDATE nodes SET seen_at = @now WHERE id = :id AND token = :token;

-- name: nodes.remove
-- Remove a node that stops.
DELETE FROM nodes WHERE id = :id AND token = :token;

-- name: nodes.dead
-- Return nodes without a heartbeat for this long.
SELECT id FROM nodes WHERE seen_at < @now - CAST(:unseen AS bigint);

-- name: nodes.live
-- Count the live nodes that send: they share the limits of endpoints and connections.
SELECT count(*) FROM nodes WHERE seen_at >= @now - CAST(:within AS bigint) AND sends = 1;

-- name: nodes.evict
-- Remove the nodes without a heartbeat for this long. A node that sent one after nodes.dead found it stays.
DELETE FROM nodes WHERE seen_at < @now - CAST(:unseen AS bigint) RETURNING id;

-- name: nodes.clear
-- Remove all nodes, when the only process of a database starts.
DELETE FROM nodes;
