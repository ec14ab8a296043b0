"""Each test here runs on both databases, on a fresh and migrated one."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.services import PostgresServer, postgres_server
from waypost.storage.database import Database
from waypost.storage.postgres import Postgres
from waypost.storage.sqlite import SQLite

TEMPLATE = "waypost_template"


class Store:
    """The location of one database, which may be opened several times."""

    def __init__(self, dialect: str, make: Callable[[], Database]) -> None:
        self.dialect = dialect
        self._make = make
        self._opened: list[Database] = []

    def open(self) -> Database:
        """Open the database once more; it is closed with the test."""
        self._opened.append(self._make())
        return self._opened[-1]

    async def close(self) -> None:
        for database in self._opened:
            await database.close()


def administer(server: PostgresServer, *statements: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(server.url())
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for this session, with a migrated database to copy."""

    async def migrate(database: Database) -> None:
        await database.migrate()
        await database.close()

    with postgres_server() as server:
        administer(server, f"CREATE DATABASE {TEMPLATE}")
        asyncio.run(migrate(Postgres(server.url(TEMPLATE))))
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """Return the URL of a fresh, migrated PostgreSQL database."""
    name = f"waypost_{secrets.token_hex(6)}"
    administer(postgres, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield postgres.url(name)
    administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """The location of a fresh database; a PostgreSQL one is migrated already."""
    if request.param == "sqlite":
        return Store("sqlite", lambda: SQLite(tmp_path / "waypost.db"))
    url = request.getfixturevalue("postgres_url")
    return Store("postgres", lambda: Postgres(url))


@pytest.fixture
async def store(place: Store) -> AsyncIterator[Store]:
    """The location of a fresh, migrated database."""
    await place.open().migrate()
    yield place
    await place.close()


@pytest.fixture
def database(store: Store) -> Database:
    """A fresh, migrated database."""
    return store.open()


@pytest.fixture
def postgres_server_alone() -> Iterator[PostgresServer]:
    """A stopped PostgreSQL that the test may start and kill."""
    with postgres_server() as server:
        server.stop()
        yield server
