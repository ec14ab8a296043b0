-- The time zone of a workspace. So far it was a field of its sending rules.

ALTER TABLE workspaces ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC';
UPDATE workspaces SET time_zone = coalesce(
    (SELECT r.rules::json ->> 'timezone' FROM sending_rules r WHERE r.workspace_id = workspaces.id), 'UTC'
);
UPDATE sending_rules SET rules = (rules::jsonb - 'timezone')::text;
