-- Identifiers by their first characters, whatever the language of the database.

CREATE INDEX identities_by_prefix ON identities (workspace_id, kind, value text_pattern_ops);
