-- Saved segments: conditions on people, in versions.

CREATE TABLE segments (
    id {key},
    workspace_id bigint NOT NULL,
    name text NOT NULL,
    -- JSON: the condition of the present version.
    condition text NOT NULL,
    version bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE INDEX segments_by_workspace ON segments (workspace_id, id);

CREATE TABLE segment_versions (
    segment_id bigint NOT NULL,
    version bigint NOT NULL,
    condition text NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (segment_id, version)
){clustered};
