-- Messages that are not sent yet, by profile: a person who is deleted gets none, however long ago it was accepted.

CREATE INDEX messages_open_of_profile ON messages (profile_id) WHERE status IN ('queued', 'held', 'sending') AND profile_id IS NOT NULL;
