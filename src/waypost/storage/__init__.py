"""How things are kept: named SQL files, SQLite and PostgreSQL."""
