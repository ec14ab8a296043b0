-- Events by type and time, for conditions of segments: a late index, as in 0002.

CREATE TABLE type_times (
    workspace_id bigint NOT NULL,
    type text NOT NULL,
    occurred_at bigint NOT NULL,
    event_id bigint NOT NULL,
    profile_id bigint NOT NULL,
    PRIMARY KEY (workspace_id, type, occurred_at, event_id)
) WITHOUT ROWID;
INSERT INTO type_times (workspace_id, type, occurred_at, event_id, profile_id)
SELECT workspace_id, type, occurred_at, id, profile_id FROM events
WHERE id <= (SELECT upto FROM late_index) AND profile_id IS NOT NULL ORDER BY workspace_id, type, occurred_at, id;

DROP TRIGGER events_deleted;
CREATE TRIGGER events_deleted AFTER DELETE ON events BEGIN
    DELETE FROM message_keys WHERE message_key = old.message_key AND event_id = old.id;
    DELETE FROM profile_events WHERE profile_id = old.profile_id AND event_id = old.id;
    DELETE FROM type_events WHERE workspace_id = old.workspace_id AND type = old.type AND event_id = old.id;
    DELETE FROM type_times WHERE workspace_id = old.workspace_id AND type = old.type
        AND occurred_at = old.occurred_at AND event_id = old.id;
END;

-- Ids rise, so this is for events that are put in with an id of the past.
DROP TRIGGER events_inserted_late;
CREATE TRIGGER events_inserted_late AFTER INSERT ON events WHEN new.id <= (SELECT upto FROM late_index) BEGIN
    INSERT OR IGNORE INTO message_keys (message_key, event_id)
        SELECT new.message_key, new.id WHERE new.message_key IS NOT NULL;
    INSERT OR IGNORE INTO profile_events (profile_id, event_id)
        SELECT new.profile_id, new.id WHERE new.profile_id IS NOT NULL;
    INSERT OR IGNORE INTO type_events (workspace_id, type, event_id) VALUES (new.workspace_id, new.type, new.id);
    INSERT OR IGNORE INTO type_times (workspace_id, type, occurred_at, event_id, profile_id)
        SELECT new.workspace_id, new.type, new.occurred_at, new.id, new.profile_id WHERE new.profile_id IS NOT NULL;
END;
