-- Indexes of the traits that conditions of saved segments name.

CREATE TABLE trait_indexes (
    id {key},
    workspace_id bigint NOT NULL,
    -- The path in the traits, with dots.
    path text NOT NULL,
    state text NOT NULL CHECK (state IN ('filling', 'complete', 'dropped')),
    -- The last profile whose value is in it while it is filled.
    filled_to bigint NOT NULL,
    -- When it was last filled or emptied by a step.
    advanced_at bigint NOT NULL
);
CREATE UNIQUE INDEX trait_indexes_by_path ON trait_indexes (workspace_id, path) WHERE state <> 'dropped';
CREATE INDEX trait_indexes_unfinished ON trait_indexes (id) WHERE state <> 'complete';

-- The values of profiles that were not merged into others; none for a trait that is missing or null.
CREATE TABLE trait_values (
    index_id bigint NOT NULL,
    profile_id bigint NOT NULL,
    -- The key of a text or boolean.
    value text,
    -- The number that the value counts as.
    number double precision,
    PRIMARY KEY (index_id, profile_id)
){clustered};
CREATE INDEX trait_values_by_value ON trait_values (index_id, value, profile_id) WHERE value IS NOT NULL;
CREATE INDEX trait_values_by_number ON trait_values (index_id, number, profile_id) WHERE number IS NOT NULL;

-- When the evaluation of everybody for a segment last made a step.
ALTER TABLE segments ADD COLUMN advanced_at bigint NOT NULL DEFAULT 0;
