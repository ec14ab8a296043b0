-- The two indexes of events whose keys arrive in random order: every event would change a page of each, and the cost of a commit
-- is its pages. So they are tables that are extended later, some thousand events at a time, in the order of their keys.

-- Both contain all events up to this one. The writer keeps the keys of later events in memory (`tail_keys`).
CREATE TABLE late_index (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    upto bigint NOT NULL
);
INSERT INTO late_index (id, upto) VALUES (1, 0);

CREATE TABLE message_keys (
    message_key INTEGER PRIMARY KEY NOT NULL,
    event_id bigint NOT NULL
);

CREATE TABLE profile_events (
    profile_id bigint NOT NULL,
    event_id bigint NOT NULL,
    PRIMARY KEY (profile_id, event_id)
) WITHOUT ROWID;

CREATE TRIGGER events_deleted AFTER DELETE ON events BEGIN
    DELETE FROM message_keys WHERE message_key = old.message_key AND event_id = old.id;
    DELETE FROM profile_events WHERE profile_id = old.profile_id AND event_id = old.id;
END;

-- Ids rise, so this is for events that are put in with an id of the past.
CREATE TRIGGER events_inserted_late AFTER INSERT ON events WHEN new.id <= (SELECT upto FROM late_index) BEGIN
    INSERT OR IGNORE INTO message_keys (message_key, event_id)
        SELECT new.message_key, new.id WHERE new.message_key IS NOT NULL;
    INSERT OR IGNORE INTO profile_events (profile_id, event_id)
        SELECT new.profile_id, new.id WHERE new.profile_id IS NOT NULL;
END;
