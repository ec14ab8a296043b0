-- A version of its own for the configuration of each area, and events that wait for a later reaction.

CREATE TABLE configurations (
    workspace_id bigint NOT NULL,
    -- Whose configuration it is: webhooks, providers.
    area text NOT NULL,
    -- Rises with every change, so that every process knows when to read it again.
    version bigint NOT NULL,
    PRIMARY KEY (workspace_id, area)
){clustered};

INSERT INTO configurations (workspace_id, area, version) SELECT id, 'webhooks', config_version FROM workspaces;
INSERT INTO configurations (workspace_id, area, version) SELECT id, 'providers', config_version FROM workspaces;
ALTER TABLE workspaces DROP COLUMN config_version;

-- Events beyond the rounds of reaction of their own transaction.
CREATE TABLE deferred_events (
    event_id {key}
);
