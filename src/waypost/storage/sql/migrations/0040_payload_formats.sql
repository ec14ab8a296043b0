-- Payload formats that users write, and the user who made an endpoint.

CREATE TABLE payload_formats (
    id {key},
    workspace_id bigint NOT NULL,
    name text NOT NULL,
    -- JSON: the event types, the bodies with Liquid values, the content type and the headers.
    source text NOT NULL,
    -- Rises with every change of the source.
    version bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE INDEX payload_formats_by_workspace ON payload_formats (workspace_id, id);

-- For the formats that name the user who made the endpoint; null: the workspace.
ALTER TABLE endpoints ADD COLUMN user_id text;
ALTER TABLE endpoints ADD COLUMN user_name text;
