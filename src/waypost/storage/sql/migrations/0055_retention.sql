-- For how many days a workspace keeps events, and attempts to deliver webhooks, if that is less than the settings of the server.

ALTER TABLE workspaces ADD COLUMN event_days bigint;
ALTER TABLE workspaces ADD COLUMN attempt_days bigint;
