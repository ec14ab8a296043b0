-- Lists of contacts, and the tags of profiles.

CREATE TABLE lists (
    id {key},
    workspace_id bigint NOT NULL,
    name text NOT NULL,
    -- 0 or 1: whether a person must confirm by mail before the membership counts.
    double_opt_in bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE INDEX lists_by_workspace ON lists (workspace_id, id);

CREATE TABLE list_members (
    list_id bigint NOT NULL,
    profile_id bigint NOT NULL,
    -- Only `subscribed` members belong to the audience of the list; `pending` ones have not confirmed yet.
    state text NOT NULL CHECK (state IN ('pending', 'subscribed', 'unsubscribed')),
    source text NOT NULL,
    changed_at bigint NOT NULL,
    PRIMARY KEY (list_id, profile_id)
){clustered};
CREATE INDEX list_members_by_profile ON list_members (profile_id);

CREATE TABLE profile_tags (
    workspace_id bigint NOT NULL,
    tag text NOT NULL,
    profile_id bigint NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (workspace_id, tag, profile_id)
){clustered};
CREATE INDEX profile_tags_by_profile ON profile_tags (profile_id);
