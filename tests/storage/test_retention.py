"""Each workspace keeps its rows for its own time, and what it deletes is no other workspace's, on both databases."""

from typing import Any

import pytest

from tests.storage.test_workspace_deletions import NUMBERS, VALUES, read_schema, rows
from waypost.clock import DAY, Ids, first_id, now_us
from waypost.engine.accounts.retention import Retention, load_retention
from waypost.engine.accounts.workspaces import change_workspace, create_workspace
from waypost.engine.audience.retention import prune_audience
from waypost.engine.events.retention import prune_events
from waypost.engine.messaging.retention import prune_messaging
from waypost.engine.webhooks.retention import prune_webhooks
from waypost.storage.database import Database, Tx

NOW = now_us()
#: In days.
AGES = (1, 4, 10, 100)
#: What is kept as long as events, and the column by which its rows are told apart.
OF_EVENTS = {
    "events": "id",
    "deliveries": "event_id",
    "messages": "id",
    "message_contents": "message_id",
    "texts": "message_id",
    "quarantine": "id",
    "imports": "id",
    "import_errors": "import_id",
    "metric_events": "event_id",
}


def id_of(workspace: int, age: int) -> int:
    return first_id(NOW - age * DAY) + workspace


async def put(tx: Tx, table: str, **given: Any) -> None:
    """Insert a row with these values, and with any in all other columns."""
    values: list[str] = []
    columns = (await read_schema(tx))[table]
    for column, type_ in columns.items():
        nothing = column in ("deleted_at", "merged_into")
        value = None if nothing else VALUES.get((table, column), 1 if type_ in NUMBERS else "x")
        value = given.get(column, value)
        literal = "NULL" if value is None else str(value) if isinstance(value, int) else f"'{value}'"
        values.append("'x'::bytea" if type_ == "bytea" else literal)
    await rows(tx, f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(values)})")  # noqa: S608


async def fill(tx: Tx) -> None:
    for workspace in (1, 2):
        await put(tx, "metrics", id=workspace, workspace_id=workspace)
        await put(tx, "metric_statuses", metric_id=workspace)
        await put(tx, "endpoints", id=workspace, workspace_id=workspace)
        for age in AGES:
            id_, at = id_of(workspace, age), NOW - age * DAY
            await put(tx, "events", id=id_, workspace_id=workspace, message_key=id_)
            state = {"state": "pending", "due_at": at} if age == 10 else {}
            await put(tx, "deliveries", endpoint_id=workspace, event_id=id_, **state)
            await put(tx, "attempts", endpoint_id=workspace, id=id_, event_id=id_)
            await put(tx, "messages", id=id_, workspace_id=workspace, updated_at=at)
            await put(tx, "message_contents", message_id=id_)
            await put(tx, "texts", message_id=id_)
            await put(tx, "quarantine", id=id_, workspace_id=workspace)
            await put(tx, "imports", id=id_, workspace_id=workspace)
            await put(tx, "import_errors", import_id=id_)
            await put(tx, "metric_events", metric_id=workspace, event_id=id_)
            await put(tx, "metric_counts", workspace_id=workspace, ends_at=at // DAY * DAY, minutes=1440)
            # Not sent yet, however old it is.
            unsent = {"status": "queued", "due_at": NOW + DAY, "updated_at": at}
            await put(tx, "messages", id=id_ + 10, workspace_id=workspace, **unsent)
            await put(tx, "message_contents", message_id=id_ + 10)
            # Changed lately.
            await put(tx, "messages", id=id_ + 20, workspace_id=workspace, updated_at=NOW)


@pytest.fixture
async def two(database: Database) -> Database:
    """A database with two workspaces that have rows of all ages."""
    ids = Ids(0)
    for number in (1, 2):
        await database.transact(create_workspace, ids, f"shop {number}", NOW)
    await database.transact(fill)
    return database


async def prune(database: Database, retention: Retention) -> int:
    deleted = await prune_webhooks(database, 1, NOW, retention)
    deleted += await prune_events(database, NOW, retention)
    deleted += await prune_messaging(database, NOW, retention)
    return deleted + await prune_audience(database, NOW, retention)


async def left(database: Database, table: str, column: str) -> dict[int, set[int]]:
    """Return the ages of the rows that are left, by workspace."""
    known = {id_of(workspace, age): (workspace, age) for workspace in (1, 2) for age in AGES}
    found: dict[int, set[int]] = {1: set(), 2: set()}
    for (id_,) in await database.read(rows, f"SELECT {column} FROM {table}"):  # noqa: S608
        if id_ in known:
            workspace, age = known[id_]
            found[workspace].add(age)
    return found


async def test_each_workspace_keeps_its_rows_for_its_own_time(two: Database):
    await two.transact(change_workspace, 1, {"event_days": 5, "attempt_days": 2})
    retention = await two.read(load_retention, 90, 30)
    assert await prune(two, retention) > 0
    for table, column in OF_EVENTS.items():
        assert await left(two, table, column) == {1: {1, 4}, 2: {1, 4, 10}}, table
    assert await left(two, "attempts", "id") == {1: {1}, 2: {1, 4, 10}}
    days = await two.read(rows, "SELECT workspace_id, ends_at FROM metric_counts ORDER BY workspace_id, ends_at")
    kept = [(1, 4), (1, 1), (2, 10), (2, 4), (2, 1)]
    assert days == [(workspace, (NOW - age * DAY) // DAY * DAY) for workspace, age in kept]
    # What is not sent yet and what changed lately stays, however old it is.
    stays = sorted(id_of(workspace, age) + more for workspace in (1, 2) for age in AGES for more in (10, 20))
    text = "SELECT id FROM messages WHERE status = 'queued' OR updated_at > {} ORDER BY id"
    assert [id_ for (id_,) in await two.read(rows, text.format(NOW - DAY))] == stays
    assert await left(two, "message_contents", "message_id - 10") == {1: set(AGES), 2: set(AGES)}
    # A pending delivery whose event is deleted counts as dead, as for the server's own retention.
    counts = await two.read(rows, "SELECT endpoint_id, pending, dead FROM endpoint_counts")
    assert counts == [(1, -1, 1)]
    assert await prune(two, retention) == 0


async def test_no_workspace_keeps_rows_for_longer_than_the_server(two: Database):
    await two.transact(change_workspace, 1, {"event_days": 200, "attempt_days": 200})
    await two.transact(change_workspace, 2, {"event_days": None, "attempt_days": 3})
    retention = await two.read(load_retention, 90, 30)
    assert (retention.events, retention.attempts) == ({}, {2: 3})
    await prune(two, retention)
    assert await left(two, "events", "id") == {1: {1, 4, 10}, 2: {1, 4, 10}}
    assert await left(two, "attempts", "id") == {1: {1, 4, 10}, 2: {1}}


async def test_more_rows_than_one_step_takes(two: Database, monkeypatch: pytest.MonkeyPatch):
    for room in ("events", "messaging", "webhooks", "audience"):
        monkeypatch.setattr(f"waypost.engine.{room}.retention.STEP", 1)
    monkeypatch.setattr("waypost.engine.messaging.retention.PAGE", 2)
    monkeypatch.setattr("waypost.engine.events.retention.INTERVALS", 1)
    await prune(two, Retention(90, 30, events={1: 2}, attempts={1: 2}))
    for table, column in (OF_EVENTS | {"attempts": "id"}).items():
        assert await left(two, table, column) == {1: {1}, 2: {1, 4, 10}}, table
