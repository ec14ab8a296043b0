-- The two indexes of events whose keys arrive in random order.

CREATE UNIQUE INDEX events_by_message ON events (message_key);
CREATE INDEX events_by_profile ON events (profile_id, id);
