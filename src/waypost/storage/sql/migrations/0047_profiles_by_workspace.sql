-- Conditions ask whether a profile was merged into another one: the index answers it, and the profile is not read.

DROP INDEX profiles_by_workspace;
CREATE INDEX profiles_by_workspace ON profiles (workspace_id, id, merged_into);
