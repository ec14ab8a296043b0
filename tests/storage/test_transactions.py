"""What a transaction guarantees, on both databases."""

import asyncio

import apsw
import asyncpg
import pytest

from tests.services import PostgresServer
from tests.storage.conftest import Store
from waypost.errors import Conflict, Invalid, Unavailable
from waypost.storage.database import Database, Tx
from waypost.storage.postgres import Postgres
from waypost.storage.sqlite import SQLite

BIG = (1 << 63) - 1
EVENT = (1, "m", "event.x", None, 0, "{}")
SIZES = [0, 1, 255, 256, 257, 1000]


async def add(tx: Tx, id_: int, name: str = "one") -> None:
    await tx.run("workspaces.add", id=id_, name=name, now=5)


async def names(tx: Tx) -> list[str]:
    return [row[1] for row in await tx.rows("workspaces.list")]


class Stop(Exception):
    pass


async def test_a_transaction_is_durable_after_reopening(store: Store):
    database = store.open()
    await database.transact(add, 1, "kept")
    await database.close()
    assert await store.open().read(names) == ["kept"]


async def test_a_failure_rolls_everything_back_and_comes_through(database: Database):
    async def work(tx: Tx) -> None:
        await add(tx, 1)
        assert await names(tx) == ["one"]
        raise Stop

    with pytest.raises(Stop):
        await database.transact(work)
    assert await database.read(names) == []
    await database.transact(add, 1)
    assert await database.read(names) == ["one"]


async def test_a_taken_key_is_a_conflict_and_keeps_nothing(database: Database):
    async def work(tx: Tx) -> None:
        await add(tx, 2)
        await add(tx, 1)

    await database.transact(add, 1)
    with pytest.raises(Conflict) as caught:
        await database.transact(work)
    assert caught.value.code == "taken"
    assert await database.read(names) == ["one"]


async def test_a_taken_key_in_a_bulk_insert_is_a_conflict(database: Database):
    async def work(tx: Tx, rows: list[tuple[object, ...]]) -> None:
        await tx.insert("events.insert", rows)

    await database.transact(work, [(1, 1, 77, *EVENT[1:])])
    with pytest.raises(Conflict) as caught:
        await database.transact(work, [(2, 1, 78, *EVENT[1:]), (3, 1, 77, *EVENT[1:])])
    assert caught.value.code == "taken"


async def test_a_broken_rule_that_is_no_taken_key_is_a_mistake_not_a_conflict(database: Database):
    async def work(tx: Tx) -> None:
        await tx.insert("deliveries.insert", [(1, 1, "wrong", 0, 0, 5, None, None, None)])

    with pytest.raises((apsw.ConstraintError, asyncpg.CheckViolationError)):
        await database.transact(work)


async def test_a_statement_that_failed_cannot_be_swallowed_and_committed(postgres_url: str):
    # SQLite undoes one statement and may continue; PostgreSQL would respond to COMMIT with a silent rollback.
    async def work(tx: Tx) -> str:
        await add(tx, 2)
        with pytest.raises(asyncpg.UniqueViolationError):
            await add(tx, 1)
        return "done"

    database = Postgres(postgres_url)
    await database.transact(add, 1)
    with pytest.raises(RuntimeError, match="a transaction ignored"):
        await database.transact(work)
    assert await database.read(names) == ["one"]
    await database.close()


async def test_reading_sees_one_moment(store: Store):
    reader, writer = store.open(), store.open()
    entered, changed = asyncio.Event(), asyncio.Event()
    await writer.transact(add, 1)
    if store.dialect == "postgres":

        async def look_twice(tx: Tx) -> tuple[list[str], list[str]]:
            before = await names(tx)
            entered.set()
            await changed.wait()
            return before, await names(tx)

        looking = asyncio.create_task(reader.read(look_twice))
        await entered.wait()
        await writer.transact(add, 2, "two")
        changed.set()
        assert await looking == (["one"], ["one"])
    else:
        # A reader's work runs on its own thread without interruption, so the second connection writes from within it.
        path = reader.path if isinstance(reader, SQLite) else None

        async def look_around_a_write(tx: Tx) -> tuple[list[str], list[str]]:
            before = await names(tx)
            other = apsw.Connection(str(path))
            other.execute("INSERT INTO workspaces (id, name, created_at) VALUES (2, 'two', 5)")
            other.close()
            return before, await names(tx)

        assert await reader.read(look_around_a_write) == (["one"], ["one"])
    assert await reader.read(names) == ["one", "two"]


async def test_reading_cannot_write_on_postgres(postgres_url: str):
    database = Postgres(postgres_url)
    with pytest.raises(Unavailable, match="read-only"):
        await database.read(add, 1)
    await database.close()


async def test_transactions_at_the_same_time_all_count(store: Store):
    async def raise_version(tx: Tx) -> None:
        await tx.run("configurations.touch", area="webhooks", workspace_id=1)

    one, other = store.open(), store.open()
    await one.transact(add, 1)
    await asyncio.gather(*(database.transact(raise_version) for database in (one, other) for _ in range(20)))
    rows = await one.read(lambda tx: tx.rows("configurations.all", area="webhooks"))
    assert rows == [(1, 40)]


async def test_a_deadlock_is_run_again(postgres_url: str):
    database = Postgres(postgres_url)
    for id_ in (1, 2):
        await database.transact(add, id_)
    first_locks = {1: asyncio.Event(), 2: asyncio.Event()}
    runs = []

    async def lock_both(tx: Tx, mine: int, other: int) -> None:
        runs.append(mine)
        await tx.run("configurations.touch", area="webhooks", workspace_id=mine)
        first_locks[mine].set()
        await first_locks[other].wait()
        await tx.run("configurations.touch", area="webhooks", workspace_id=other)

    await asyncio.gather(database.transact(lock_both, 1, 2), database.transact(lock_both, 2, 1))
    assert len(runs) == 3
    assert await database.read(lambda tx: tx.rows("configurations.all", area="webhooks")) == [(1, 2), (2, 2)]
    await database.close()


@pytest.mark.parametrize("count", SIZES)
async def test_bulk_insert_keeps_every_row_as_it_is(database: Database, count: int):
    kept = [
        (1, n, n, n % 5, -n, n, None if n % 3 else 200, '{"ü": "🚀"}', bytes([n % 256, 0, 255]), None if n % 2 else "é")
        for n in range(1, count + 1)
    ]

    async def write(tx: Tx) -> None:
        await tx.insert("attempts.insert", kept)

    await database.transact(write)
    rows = await database.read(lambda tx: tx.rows("attempts.list", endpoint_id=1, before=BIG, n=2000))
    assert rows == kept[::-1]


async def test_values_at_the_edges(database: Database):
    long = "𝔘ñ" * (1 << 19)
    rows = [
        (BIG, 1, -BIG - 1, "m" * 512, "event.x", None, -BIG, long),
        (1, 1, None, "", "a\tb\n\x7f", BIG, BIG, "\\u0000 \\\\ ' \" $1 :name {}"),
        (2, 1, None, "", "event.x", None, 0, "{}"),
    ]

    async def write(tx: Tx) -> None:
        await tx.insert("events.insert", rows)

    await database.transact(write)
    read = await database.read(lambda tx: tx.rows("events.by_ids", ids=[1, 2, BIG]))
    assert sorted(read) == sorted((row[0], *row[3:]) for row in rows)
    known = await database.transact(lambda tx: tx.row("events.known", keys=[-BIG - 1, 5]))
    assert known == (f'[[{-BIG - 1},1,"{"m" * 512}"]]',) or known == (f'[[{-BIG - 1}, 1, "{"m" * 512}"]]',)


async def test_the_character_zero_is_refused_by_name_where_it_cannot_be_kept(postgres_url: str):
    database = Postgres(postgres_url)
    with pytest.raises(Invalid) as caught:
        await database.transact(add, 1, "a\x00b")
    assert caught.value.code == "invalid_text"
    await database.close()


async def test_each_way_to_ask(database: Database):
    async def work(tx: Tx) -> None:
        assert await tx.row("workspaces.list") is None
        assert await tx.records("workspaces.list") == []
        await add(tx, 1)
        await add(tx, 2, "two")
        assert await tx.row("workspaces.list") == (1, "one", 5)
        assert await tx.rows("workspaces.list") == [(1, "one", 5), (2, "two", 5)]
        records = await tx.records("workspaces.list")
        assert records[1] == {"id": 2, "name": "two", "created_at": 5}
        assert await tx.run("configurations.touch", area="webhooks", workspace_id=1) == 1
        assert await tx.run("keys.delete", workspace_id=1, id=9) == 0
        assert await tx.rows("configurations.versions", ids=[], area="webhooks") == []
        assert sorted(await tx.rows("configurations.versions", ids=(2, 1, 9), area="webhooks")) == [(1, 1), (2, 0)]
        # Each area has its own version.
        assert sorted(await tx.rows("configurations.versions", ids=(2, 1), area="providers")) == [(1, 0), (2, 0)]

    await database.transact(work)


async def test_a_closed_store_says_so(database: Database):
    await database.read(names)
    await database.close()
    await database.close()
    with pytest.raises(Unavailable):
        await database.transact(add, 1)


async def test_a_full_disk_is_unavailable_and_keeps_nothing(tmp_path):
    database = SQLite(tmp_path / "full.db")
    await database.migrate()

    async def limit(tx: Tx) -> None:
        connection = tx._connection  # type: ignore[attr-defined]
        connection.execute(f"PRAGMA max_page_count = {connection.pragma('page_count') + 5}")

    async def fill(tx: Tx) -> None:
        await tx.insert("events.insert", [(n, 1, n, "m", "t", None, 0, "x" * 4000) for n in range(1, 100)])

    await database.read(names)
    await database.transact(limit)
    with pytest.raises(Unavailable, match="full"):
        await database.transact(fill)
    await database.transact(add, 1)
    assert await database.read(names) == ["one"]
    await database.close()


@pytest.mark.postgres
async def test_postgres_away_and_back(postgres_server_alone: PostgresServer):
    server = postgres_server_alone
    database = Postgres(server.url())
    with pytest.raises(Unavailable, match="cannot be reached"):
        await database.transact(add, 1)
    server.start()
    await database.migrate()
    await database.transact(add, 1)

    in_work = asyncio.Event()
    go_on = asyncio.Event()

    async def interrupted(tx: Tx) -> None:
        await add(tx, 2)
        in_work.set()
        await go_on.wait()
        await add(tx, 3)

    task = asyncio.create_task(database.transact(interrupted))
    await in_work.wait()
    await asyncio.to_thread(server.crash)
    go_on.set()
    with pytest.raises(Unavailable, match="Nothing was stored"):
        await task
    with pytest.raises(Unavailable):
        await database.read(names)
    server.start()
    assert await database.read(names) == ["one"]
    await database.transact(add, 2, "two")
    assert await database.read(names) == ["one", "two"]
    await database.close()


@pytest.mark.postgres
async def test_connections_the_server_ends_are_replaced(postgres_url: str):
    database = Postgres(postgres_url)
    other = await asyncpg.connect(postgres_url)
    await database.transact(add, 1)
    in_work, go_on = asyncio.Event(), asyncio.Event()

    async def interrupted(tx: Tx) -> None:
        await add(tx, 2)
        in_work.set()
        await go_on.wait()
        await names(tx)

    task = asyncio.create_task(database.transact(interrupted))
    await in_work.wait()
    await other.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    go_on.set()
    with pytest.raises(Unavailable):
        await task
    assert await database.read(names) == ["one"]
    await other.close()
    await database.close()


@pytest.mark.postgres
async def test_a_cancelled_transaction_is_rolled_back_and_the_store_goes_on(postgres_url: str):
    database = Postgres(postgres_url, pool_size=1)
    in_work = asyncio.Event()

    async def wait_for_ever(tx: Tx) -> None:
        await add(tx, 1)
        in_work.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(database.transact(wait_for_ever))
    await in_work.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await database.read(names) == []
    await database.transact(add, 1)
    await database.close()


@pytest.mark.postgres
async def test_a_database_that_does_not_exist_is_unavailable(postgres: PostgresServer):
    database = Postgres(postgres.url("nowhere"))
    with pytest.raises(Unavailable, match="nowhere"):
        await database.pending_migrations()
    await database.close()


@pytest.mark.postgres
async def test_a_read_only_server_is_unavailable(postgres_url: str):
    database = Postgres(postgres_url)

    async def write(tx: Tx) -> None:
        await tx._connection.execute("SET TRANSACTION READ ONLY")  # type: ignore[attr-defined]
        await add(tx, 1)

    with pytest.raises(Unavailable):
        await database.transact(write)
    await database.close()
