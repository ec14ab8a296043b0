"""The deletion of a workspace deletes its rows in every table, and no row of another workspace, on both databases."""

from typing import Any

import pytest

from waypost.clock import Ids, now_us
from waypost.domain.accounts import workspace_deletion
from waypost.engine.accounts.workspaces import create_workspace
from waypost.engine.runtime.journal import Journal
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.workspaces import deletions
from waypost.errors import NotFound
from waypost.storage.database import Database, Tx

#: Tables that are not deleted, and why.
KEPT = {
    "audit_log": "nothing deletes its rows",
    "click_bursts": "of a message",
    "deferred_events": "ends by itself: it names events for a moment",
    "late_index": "of the database",
    "message_keys": "an index of events, kept by triggers",
    "migrations": "of the database",
    "nodes": "of the database",
    "profile_events": "an index of events, kept by triggers",
    "sessions": "of users",
    "sign_in_tries": "of users",
    "signing_keys": "of the server",
    "text_repeats": "digests that end after a day",
    "type_events": "an index of events, kept by triggers",
    "type_times": "an index of events, kept by triggers",
    "users": "may be in other workspaces",
    "workspace_deletions": "says that it is done",
    "workspaces": "keeps the number from being used again",
}
#: Values that a CHECK asks for.
VALUES: dict[tuple[str, str], Any] = {
    ("deliveries", "state"): "delivered",
    ("deliveries", "due_at"): None,
    ("messages", "status"): "sent",
    ("messages", "due_at"): None,
    ("messages", "node"): None,
    ("notices", "state"): "sent",
    ("replays", "state"): "done",
    ("campaigns", "state"): "finished",
    ("occurrences", "state"): "done",
    ("imports", "state"): "done",
    ("deletions", "stage"): "done",
    ("deletions", "due_at"): None,
    ("identities", "kind"): "email",
    ("endpoints", "status"): "enabled",
    ("connections", "status"): "enabled",
    ("subscriptions", "state"): "subscribed",
    ("subscription_history", "state"): "subscribed",
    ("text_clients", "check_links"): "now",
    ("metrics", "source"): "track",
    ("list_members", "state"): "subscribed",
    ("recipients", "status"): "sent",
    ("trait_indexes", "state"): "complete",
    ("workspace_deletions", "stage"): "done",
    ("workspace_deletions", "due_at"): None,
}
NUMBERS = ("bigint", "integer", "double precision", "real", "smallint")


async def rows(tx: Any, text: str) -> list[tuple[Any, ...]]:
    """Return the rows of an unnamed statement."""
    connection = tx._connection
    if tx.dialect == "postgres":
        return [tuple(row) for row in await connection.fetch(text)]
    return list(connection.execute(text))


async def read_schema(tx: Tx) -> dict[str, dict[str, str]]:
    """Return the types of the columns of all tables."""
    if tx.dialect == "postgres":
        found = await rows(
            tx,
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
        )
    else:
        found = await rows(
            tx,
            "SELECT t.name, c.name, lower(c.type) FROM sqlite_schema t, pragma_table_info(t.name) c "
            "WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%'",
        )
    schema: dict[str, dict[str, str]] = {}
    for table, column, type_ in found:
        schema.setdefault(table, {})[column] = type_
    return schema


async def fill(tx: Tx, number: int) -> None:
    """Write a row into each table whose ids are all this number: what belongs together has the same."""
    for table, columns in (await read_schema(tx)).items():
        if table in ("migrations", "workspaces", "late_index", "message_keys", "profile_events", "type_events"):
            continue
        if table in ("type_times", "workspace_deletions", "nodes"):
            continue
        values = []
        for column, type_ in columns.items():
            nothing = column in ("deleted_at", "merged_into")
            value = None if nothing else VALUES.get((table, column), number if type_ in NUMBERS else f"x{number}")
            literal = "NULL" if value is None else str(value) if isinstance(value, int) else f"'{value}'"
            values.append(f"'x{number}'::bytea" if type_ == "bytea" else literal)
        await rows(tx, f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(values)})")  # noqa: S608


async def count(tx: Tx) -> dict[str, int]:
    """Return how many rows each table has."""
    return {
        table: (await rows(tx, f"SELECT count(*) FROM {table}"))[0][0]  # noqa: S608
        for table in await read_schema(tx)
    }


async def purge(database: Database) -> list[float]:
    recorder = Recorder(database, Journal(10), Ids(0), [])
    return [await deletions.advance_workspaces(database, recorder) for _ in range(5)]


@pytest.fixture
async def two(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database with two workspaces that have a row in each table."""
    monkeypatch.setattr(workspace_deletion, "GRACE", 0)
    for number in (1, 2):
        await database.transact(create_workspace, Ids(0), f"shop {number}", number)
        await database.transact(rows, "DELETE FROM keys WHERE name LIKE 'first %'")
        await database.transact(fill, number)
    return database


async def test_every_row_of_a_workspace_is_deleted_and_none_of_another(two: Database):
    before = await two.read(count)
    assert {table for table, n in before.items() if n < 2} <= KEPT.keys() - {"users"}
    await two.transact(deletions.close_workspace, 1, now_us())
    await purge(two)
    after = await two.read(count)
    left = {table: n for table, n in after.items() if n != 1 and table not in KEPT}
    assert left == {}, "a table is missing in storage/sql/workspaces/deletions.sql"
    for table, columns in (await two.read(read_schema)).items():
        if "workspace_id" in columns and table not in KEPT:
            assert await two.read(rows, f"SELECT workspace_id FROM {table}") == [(2,)], table  # noqa: S608
    assert (after["audit_log"], after["users"]) == (2, 2)
    ((stage, due_at, deleted),) = await two.read(rows, "SELECT stage, due_at, deleted FROM workspace_deletions")
    assert (stage, due_at) == ("done", None)
    assert deleted > 50


@pytest.mark.parametrize("steps", [1, 7])
async def test_a_deletion_goes_on_where_it_was_interrupted(two: Database, monkeypatch: pytest.MonkeyPatch, steps: int):
    monkeypatch.setattr(deletions, "STEPS", steps)
    await two.transact(deletions.close_workspace, 1, now_us())
    recorder = Recorder(two, Journal(10), Ids(0), [])
    runs = 1
    while await deletions.advance_workspaces(two, recorder) == 0.0:
        # As after a restart: nothing is in memory.
        recorder = Recorder(two, Journal(10), Ids(0), [])
        runs += 1
    assert runs > 40 // steps
    after = await two.read(count)
    assert {table: n for table, n in after.items() if n != 1 and table not in KEPT} == {}


async def test_more_rows_than_one_step_takes(two: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deletions, "STEP", 10)
    monkeypatch.setattr(deletions, "SEARCHED", 10)

    async def more(tx: Tx) -> None:
        for number in range(100, 145):
            workspace = 1 + number % 2
            await rows(tx, f"INSERT INTO event_types VALUES ({workspace}, 't{number}', 'm', 1)")  # noqa: S608
            await rows(
                tx,
                "INSERT INTO links (id, workspace_id, url, created_at, expires_at) "  # noqa: S608
                f"VALUES ({number}, {workspace}, 'https://example.com', 1, 1)",
            )
            await rows(
                tx,
                f"INSERT INTO deliveries (endpoint_id, event_id, state, tries, attempts) VALUES (1, {number}, 'dead', 1, 1)",  # noqa: S608,E501
            )

    await two.transact(more)
    await two.transact(deletions.close_workspace, 1, now_us())
    await purge(two)
    after = await two.read(count)
    assert (after["event_types"], after["links"], after["deliveries"]) == (1 + 22, 1 + 22, 1)


async def test_a_workspace_is_deleted_once(two: Database):
    await two.transact(deletions.close_workspace, 1, now_us())
    with pytest.raises(NotFound):
        await two.transact(deletions.close_workspace, 1, now_us())
    assert await two.read(rows, "SELECT count(*) FROM keys WHERE workspace_id = 1") == [(0,)]
    assert await two.read(rows, "SELECT status FROM endpoints ORDER BY id") == [("disabled",), ("enabled",)]


async def test_what_a_workspace_contains_is_counted(two: Database, monkeypatch: pytest.MonkeyPatch):
    found = await two.read(deletions.count_contents, 2)
    assert (found.people, found.events, found.messages, found.webhooks, found.users) == (1, 1, 1, 1, 1)
    monkeypatch.setattr(deletions, "COUNTED", 0)
    assert (await two.read(deletions.count_contents, 2)).events == 0
