"""People: profiles, tags, lists and imports."""
