"""Which database the settings ask for."""

from waypost.settings import Settings
from waypost.storage.database import Database
from waypost.storage.postgres import Postgres
from waypost.storage.sqlite import SQLite


def open_database(settings: Settings) -> Database:
    """The database of the settings: PostgreSQL where they name one, else a SQLite file in the data directory.

    Unavailable when the file cannot be opened; PostgreSQL is connected to when it is first used.
    """
    if settings.database_url:
        return Postgres(settings.database_url)
    return SQLite(settings.data_dir / "waypost.db")
