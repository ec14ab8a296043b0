"""Open the database that the settings name."""

from waypost.settings import Settings
from waypost.storage.database import Database
from waypost.storage.sqlite import SQLite


def open_database(settings: Settings) -> Database:
    """Return PostgreSQL if `database_url` is set, else a SQLite file in the data directory.

    Raises Unavailable when the file cannot be opened. Connections to PostgreSQL are made on first use.
    """
    if settings.database_url:
        # Loaded only here: a server on SQLite need not wait for asyncpg.
        from waypost.storage.postgres import Postgres

        return Postgres(settings.database_url)
    return SQLite(settings.data_dir / "waypost.db")
