"""The storage: named SQL files, SQLite and PostgreSQL."""
