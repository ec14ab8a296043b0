-- Members who wait for their confirmation or have left: few beside the others, and listed by state.
CREATE INDEX list_members_by_state ON list_members (list_id, state, profile_id) WHERE state <> 'subscribed';
