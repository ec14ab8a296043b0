-- A configuration version for each area, and deferred events.

CREATE TABLE configurations (
    workspace_id bigint NOT NULL,
    -- The area: webhooks or providers.
    area text NOT NULL,
    -- Rises with every change, so that processes know when to reload it.
    version bigint NOT NULL,
    PRIMARY KEY (workspace_id, area)
){clustered};

INSERT INTO configurations (workspace_id, area, version) SELECT id, 'webhooks', config_version FROM workspaces;
INSERT INTO configurations (workspace_id, area, version) SELECT id, 'providers', config_version FROM workspaces;
ALTER TABLE workspaces DROP COLUMN config_version;

-- Deferred events: areas react to them in a later transaction.
CREATE TABLE deferred_events (
    event_id {key}
);
