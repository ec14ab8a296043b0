"""A database migrated step by step equals a fresh one, on both databases."""

import asyncio
from typing import Any

import msgspec
import pytest

from tests.storage.conftest import Store
from waypost.engine.messaging.sending_rules import load_rules
from waypost.errors import Conflict
from waypost.storage import postgres as postgres_store
from waypost.storage import sqlite as sqlite_store
from waypost.storage.database import Database, Tx, load_migrations

POSTGRES_CATALOG = [
    """SELECT table_name, column_name, ordinal_position, data_type, is_nullable, column_default
       FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 3""",
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    """SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) FROM pg_constraint
       WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
]
MORE = [
    ("9001_more", "CREATE TABLE more (id bigint PRIMARY KEY); ALTER TABLE workspaces ADD COLUMN hint text"),
    ("9002_less", "DROP TABLE more; CREATE INDEX workspaces_by_hint ON workspaces (hint)"),
]


async def catalog(tx: Tx) -> Any:
    """Return all parts of the schema."""
    connection = tx._connection  # type: ignore[attr-defined]
    if isinstance(tx, sqlite_store.SQLiteTx):
        return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2").fetchall()
    return [[tuple(row) for row in await connection.fetch(query)] for query in POSTGRES_CATALOG]


async def empty(tx: Tx) -> None:
    if not isinstance(tx, sqlite_store.SQLiteTx):
        await tx._connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")  # type: ignore[attr-defined]


def reveal(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Make these migrations known, those of the tests at the end."""
    for module in (sqlite_store, postgres_store):
        monkeypatch.setattr(module, "load_migrations", lambda dialect: (load_migrations(dialect) + MORE)[:count])


@pytest.fixture
async def bare(place: Store):
    """A database without tables."""
    database = place.open()
    await database.transact(empty)
    yield database
    await place.close()


async def test_step_by_step_is_the_same_as_at_once(bare: Database, place: Store, monkeypatch: pytest.MonkeyPatch):
    total = len(load_migrations(bare.dialect)) + len(MORE)
    for count in range(1, total + 1):
        reveal(monkeypatch, count)
        assert len(await bare.pending_migrations()) == 1
        assert len(await bare.migrate()) == 1
    step_by_step = await bare.read(catalog)
    assert await bare.migrate() == []
    assert await bare.pending_migrations() == []
    await bare.close()

    if isinstance(bare, sqlite_store.SQLite):
        bare.path.unlink()
    again = place.open()
    await again.transact(empty)
    assert len(await again.migrate()) == total
    assert await again.read(catalog) == step_by_step


async def test_the_time_zone_of_sending_rules_becomes_that_of_the_workspace(
    bare: Database, monkeypatch: pytest.MonkeyPatch
):
    names = [name for name, _ in load_migrations(bare.dialect)]
    reveal(monkeypatch, names.index("0054_time_zones"))
    await bare.migrate()

    async def fill(tx: Tx) -> None:
        for id_ in (1, 2):
            await tx.run("workspaces.add", id=id_, name="Shop", now=1)
        rules = '{"timezone":"Europe/Berlin","quiet_hours":[],"frequency_caps":[]}'
        await tx.run("sending_rules.set", workspace_id=1, rules=rules, updated_by=7, now=1)

    await bare.transact(fill)
    reveal(monkeypatch, len(names))
    assert (await bare.migrate())[0] == "0054_time_zones"
    assert [(await bare.read(load_rules, id_))[0].timezone for id_ in (1, 2)] == ["Europe/Berlin", "UTC"]
    row = await bare.read(lambda tx: tx.row("sending_rules.get", workspace_id=1))
    assert row is not None
    assert msgspec.json.decode(row[1]) == {"quiet_hours": [], "frequency_caps": []}


async def test_a_migration_that_fails_leaves_nothing(bare: Database, monkeypatch: pytest.MonkeyPatch):
    bad = [*load_migrations(bare.dialect), ("9999_bad", "CREATE TABLE half (id bigint); CREATE TABLE half (id bigint)")]
    for module in (sqlite_store, postgres_store):
        monkeypatch.setattr(module, "load_migrations", lambda dialect: bad)
    before = await bare.read(catalog)
    with pytest.raises(Exception, match="half"):
        await bare.migrate()
    assert await bare.read(catalog) == before
    assert len(await bare.pending_migrations()) == len(bad)


async def test_a_database_of_a_newer_version_is_refused(store: Store):
    database = store.open()

    async def upgrade(tx: Tx) -> None:
        done = tx._connection.execute("INSERT INTO migrations (name) VALUES ('9001_future')")  # type: ignore[attr-defined]
        if store.dialect == "postgres":
            await done

    await database.transact(upgrade)
    before = await database.read(catalog)
    for refuse in (database.migrate, database.pending_migrations):
        with pytest.raises(Conflict, match=r"newer version of Waypost.*9001_future") as caught:
            await refuse()
        assert caught.value.code == "database_too_new"
    assert await database.read(catalog) == before


async def test_processes_that_migrate_at_once_do_it_once(bare: Database, place: Store):
    if place.dialect == "sqlite":
        return  # Only one process opens the file.
    done = await asyncio.gather(bare.migrate(), place.open().migrate(), place.open().migrate())
    assert sorted(map(len, done)) == [0, 0, len(load_migrations("postgres"))]


async def test_an_insert_knows_columns_that_a_migration_changed(store: Store):
    database = store.open()

    async def add(tx: Tx, id_: int) -> None:
        await tx.insert("event_types.insert", [(1, f"event.{id_}", "x", id_)])

    async def change(tx: Tx) -> None:
        connection = tx._connection  # type: ignore[attr-defined]
        changed = connection.execute("ALTER TABLE event_types ADD COLUMN more bigint")
        if store.dialect == "postgres":
            await changed

    await database.transact(add, 1)
    other = store.open()
    assert await other.read(lambda tx: tx.records("replays.list", endpoint_id=1, before=1, n=1)) == []
    await database.transact(change)
    await database.transact(add, 2)
    rows = await other.read(lambda tx: tx.rows("event_types.list", workspace_id=1, after="", n=10))
    assert [row[0] for row in rows] == ["event.1", "event.2"]


async def test_a_statement_prepared_before_a_migration_is_prepared_again(postgres_url: str):
    database = postgres_store.Postgres(postgres_url, pool_size=1)
    other = postgres_store.Postgres(postgres_url)

    async def look(tx: Tx) -> list[dict[str, Any]]:
        return await tx.records("replays.get", workspace_id=1, id=1)

    async def change(tx: Tx) -> None:
        await tx._connection.execute("ALTER TABLE replays ADD COLUMN more bigint")  # type: ignore[attr-defined]

    for _ in range(2):
        await database.transact(look)
        await database.read(look)
    await other.transact(change)
    assert await database.read(look) == []
    await other.transact(change_back)
    assert await database.transact(look) == []
    await database.close()
    await other.close()


async def change_back(tx: Tx) -> None:
    await tx._connection.execute("ALTER TABLE replays DROP COLUMN more")  # type: ignore[attr-defined]


async def test_both_stores_have_the_same_tables_and_columns(tmp_path, postgres_url: str):
    small, large = sqlite_store.SQLite(tmp_path / "waypost.db"), postgres_store.Postgres(postgres_url)
    await small.migrate()
    of_sqlite = await small.read(sqlite_columns)
    of_postgres = await large.read(postgres_columns)
    await small.close()
    await large.close()
    # Decision 10: SQLite has tables that are extended later where PostgreSQL has indexes.
    late = {"late_index", "message_keys", "profile_events", "type_events", "type_times"}
    assert {row[0] for row in of_sqlite} >= late
    assert [row for row in of_sqlite if row[0] not in late] == of_postgres


async def sqlite_columns(tx: Tx) -> list[tuple[Any, ...]]:
    rows = tx._connection.execute(  # type: ignore[attr-defined]
        """SELECT t.name, c.cid + 1, c.name, c."notnull" FROM sqlite_schema t, pragma_table_info(t.name) c
           WHERE t.type = 'table' ORDER BY 1, 2"""
    )
    return [(table, position, column, bool(required)) for table, position, column, required in rows]


async def postgres_columns(tx: Tx) -> list[tuple[Any, ...]]:
    rows = await tx._connection.fetch(  # type: ignore[attr-defined]
        """SELECT table_name::text, (row_number() OVER (PARTITION BY table_name ORDER BY ordinal_position))::int,
               column_name::text, is_nullable = 'NO'
           FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name COLLATE "C", 2"""
    )
    return [tuple(row) for row in rows]


async def test_the_old_default_of_retry_statuses_is_taken_back(
    bare: Database, place: Store, monkeypatch: pytest.MonkeyPatch
):
    names = [name for name, _ in load_migrations(bare.dialect)]
    reveal(monkeypatch, names.index("0015_http_retry_statuses"))
    await bare.migrate()
    # A quoted text of the same words is no field.
    body = '{"a": "\\"retry_statuses\\":\\"503\\""}'
    stored = [
        (1, 1, "http", {"body_template": body, "retry_statuses": "503", "id_path": "id"}),
        (2, 1, "http", {"body_template": body, "retry_statuses": "502 503"}),
        (3, 1, "twilio", {"retry_statuses": "503"}),
        (4, 2, "http", {"retry_statuses": "503"}),
        (5, 3, "http", {"retry_statuses": ""}),
    ]
    await bare.transact(_store, stored)
    reveal(monkeypatch, len(names))
    await bare.migrate()

    async def look(tx: Tx) -> tuple[dict[int, tuple[Any, int]], dict[int, int]]:
        records = await tx.records("connections.of_workspaces", ids=[1, 2, 3])
        versions = await tx.rows("configurations.all", area="providers")
        found = {record["id"]: (msgspec.json.decode(record["config"]), record["version"]) for record in records}
        return found, dict(versions)

    found, versions = await bare.read(look)
    before = {id_: (config, 1) for id_, _, _, config in stored}
    # Processes that run read it again. The second workspace has a connector of its own by this name.
    assert found == before | {1: ({"body_template": body, "retry_statuses": "", "id_path": "id"}, 2)}
    assert versions == {1: 2, 2: 1, 3: 1}


async def _store(tx: Tx, stored: list[tuple[int, int, str, dict[str, str]]]) -> None:
    """Connections as a version stored them that had this default, and a connector of the second workspace."""
    for workspace_id in (1, 2, 3):
        await tx.run("workspaces.add", id=workspace_id, name="x", now=1)
        await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)
    await tx.run("connectors.put", workspace_id=2, name="http", definition="", now=1)
    for id_, workspace_id, connector, config in stored:
        await tx.run(
            "connections.add",
            id=id_,
            workspace_id=workspace_id,
            name=f"c{id_}",
            connector=connector,
            channel="sms",
            config=msgspec.json.encode(config).decode(),
            secrets="",
            receipts_key_hash=None,
            position=0,
            per_second=None,
            concurrency=None,
            validity_s=None,
            data_center=None,
            now=1,
        )
