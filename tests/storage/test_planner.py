"""Settings of PostgreSQL hold for one transaction of Waypost, cost no round trip, and stay on no connection."""

import contextlib
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.services import PostgresServer
from tests.storage.pgproxy import Proxy, proxied
from waypost.storage.database import Tx
from waypost.storage.postgres import Postgres

pytestmark = pytest.mark.postgres

NAMES = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit", "synchronous_commit")
PLANNER_OFF = ["off", "off", "off", "off"]
#: As in a cluster whose administrator trusts its power supply, to tell our own `on` from the server's.
DEFAULTS = ["on", "on", "on", "on", "off"]


async def current(connection: Any) -> list[str]:
    return [await connection.fetchval("SELECT current_setting($1)", name) for name in NAMES]


async def in_transaction(tx: Tx) -> list[str]:
    return await current(tx._connection)  # type: ignore[attr-defined]


async def between(database: Postgres) -> list[str]:
    """The settings of the pool's only connection between two transactions, as another client of a pooler gets it."""
    async with database._open_pool().acquire() as connection:
        return await current(connection)


@contextlib.asynccontextmanager
async def watched(server: PostgresServer, url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy that keeps what is sent, and the URL of the database through it."""
    # The path of a Unix socket is short.
    with tempfile.TemporaryDirectory(prefix="waypost-proxy-") as folder:
        async with proxied(server, Path(folder), url) as found:
            yield found


@pytest.fixture
async def database(postgres_url: str, postgres: PostgresServer):
    found = Postgres(postgres_url, pool_size=1)
    async with found._open_pool() as pool:
        name = await pool.fetchval("SELECT current_database()")
        for setting, value in zip(NAMES, DEFAULTS, strict=True):
            await pool.execute(f"ALTER DATABASE {name} SET {setting} = {value}")
        await pool.expire_connections()
        yield found


async def test_the_settings_hold_for_one_transaction(database: Postgres):
    assert await between(database) == DEFAULTS
    assert await database.transact(in_transaction) == [*PLANNER_OFF, "on"]
    assert await between(database) == DEFAULTS
    assert (await database.read(in_transaction))[:4] == PLANNER_OFF
    assert await between(database) == DEFAULTS


async def test_they_end_with_a_transaction_that_fails(database: Postgres):
    async def fail(tx: Tx) -> None:
        assert await in_transaction(tx) == [*PLANNER_OFF, "on"]
        raise KeyError

    with pytest.raises(KeyError):
        await database.transact(fail)
    assert await between(database) == DEFAULTS


async def test_migrations_leave_the_planner_alone(database: Postgres, monkeypatch: pytest.MonkeyPatch):
    text = f"CREATE TABLE seen AS SELECT {', '.join(f'current_setting({name!r}) AS {name}' for name in NAMES)}"
    monkeypatch.setattr("waypost.storage.postgres.load_migrations", lambda dialect: [("9999_seen", text)])
    monkeypatch.setattr("waypost.storage.postgres.refuse_unknown", lambda done, known: None)
    assert await database.migrate() == ["9999_seen"]
    async with database._open_pool().acquire() as connection:
        rows = await connection.fetch("SELECT * FROM seen")
    assert [list(row) for row in rows] == [[*DEFAULTS[:4], "on"]]


async def test_they_cost_no_round_trip(postgres: PostgresServer, postgres_url: str):
    async def work(tx: Tx) -> None:
        await tx.rows("workspaces.list")

    async with watched(postgres, postgres_url) as (proxy, url):
        database = Postgres(url, pool_size=1)
        # The second time, the statement is prepared.
        for run in (database.transact, database.read):
            await run(work)
            proxy.sent.clear()
            await run(work)
            assert len(proxy.sent) == 3, proxy.sent
            assert proxy.sent[0].startswith(b"Q")
            assert b"BEGIN" in proxy.sent[0]
        await database.close()


async def test_a_connection_opens_with_parameters_that_a_pooler_takes(postgres: PostgresServer, postgres_url: str):
    # PgBouncer refuses a client that sends any other parameter, unless its `ignore_startup_parameters` names it.
    takes = {"user", "database", "client_encoding", "application_name"}
    async with watched(postgres, postgres_url) as (proxy, url):
        database = Postgres(url, pool_size=1)
        await database.read(in_transaction)
        await database.close()
        # The first message of a connection is the startup message, or a question for TLS before it.
        startup = next(data for data in proxy.sent if b"application_name" in data)
    words = re.split(b"\x00", startup[8:])
    assert {word.decode() for word in words[0:-1:2] if word} <= takes
