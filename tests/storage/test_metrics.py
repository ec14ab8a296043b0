"""Metrics on both databases: counted with their events, by two processes at once, up to a limit, until they age."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.storage.conftest import Store
from waypost.clock import DAY, HOUR, Ids, first_id
from waypost.domain.events.event import Event
from waypost.domain.events.metrics import QUARTER
from waypost.domain.events.segment import metric_type
from waypost.engine.accounts.retention import Retention
from waypost.engine.events import metrics
from waypost.engine.events.metrics import MetricArea, count_intervals
from waypost.engine.events.retention import prune_events
from waypost.engine.runtime.journal import Journal
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.unit import Unit
from waypost.storage import postgres as postgres_store
from waypost.storage import sqlite as sqlite_store
from waypost.storage.database import Database, Row, Tx, load_migrations

#: A quarter of an hour begins.
START = 1_700_000_100 * 1_000_000
BIG = (1 << 63) - 1


class Node:
    """A process that records events, whose clock stands still."""

    def __init__(self, database: Database, number: int = 1, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
        self.database = database
        self.recorder = Recorder(database, Journal(1000), Ids(number), [MetricArea()])

    async def record(self, *events: Event) -> None:
        async def work(tx: Tx, unit: Unit) -> None:
            unit.emit(list(events))

        await self.recorder.perform(work)


def tracked(metric: str, at: int = START, workspace_id: int = 1) -> Event:
    return Event(workspace_id, metric_type(metric), None, at, "m", b"{}", metric=metric)


def status(metric: Any, status: str, at: int = START, workspace_id: int = 1) -> Event:
    data = {"MessageID": "msg_1", "Status": status, "metricName": metric, "callbackData": {"profileID": "x"}}
    return Event(workspace_id, "text.status", None, at, f"msg_1:{status}", json.dumps(data).encode())


@pytest.fixture(autouse=True)
def held_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """The clock of every node; it stands at START until it is set."""

    def hold(at: int) -> None:
        monkeypatch.setattr("waypost.engine.runtime.recorder.now_us", lambda: at)

    hold(START)
    return hold


async def listed(database: Database, workspace_id: int = 1) -> dict[tuple[str, str], int]:
    """The metrics of a workspace: source and name → id."""

    async def work(tx: Tx) -> dict[tuple[str, str], int]:
        rows = await tx.rows("metrics.list", workspace_id=workspace_id, before=BIG, n=50_000)
        found = {(source, name): id_ for id_, source, _, name, _ in rows}
        assert len(found) == len(rows)
        return found

    return await database.read(work)


async def counted(database: Database, metric_id: int, workspace_id: int = 1) -> dict[tuple[int, str], int]:
    """The counts of a metric around START: hours since START and status → count; zeros are left out."""
    edges = [START + hour * HOUR for hour in range(-48, 49)]
    counts = await database.read(count_intervals, workspace_id, metric_id, edges)
    return {(hour - 48, name): n for name, numbers in counts.items() for hour, n in enumerate(numbers) if n}


async def entries(database: Database, metric_id: int, *statuses: str, before: int = BIG, n: int = 100) -> list[int]:
    async def work(tx: Tx) -> list[int]:
        rows = await tx.rows("metric_events.list", metric_id=metric_id, statuses=list(statuses), before=before, n=n)
        return [row[0] for row in rows]

    return await database.read(work)


async def test_events_are_counted_where_they_occurred_by_status(database: Database):
    node = Node(database)
    await node.record(tracked("Order Shipped"), tracked("Order Shipped", START - 5 * HOUR), tracked("Other Thing"))
    await node.record(status("Birthday 🎂", "SENDING"), status("Birthday 🎂", "DELIVERED"), tracked("order shipped"))
    # Other types of events belong to no metric.
    await node.record(Event(1, "text.requested", None, START, "m", b"{}"), status("Birthday 🎂", "DELIVERED"))
    found = await listed(database)
    assert set(found) == {("track", "Order Shipped"), ("track", "Other Thing"), ("text", "Birthday 🎂")}
    assert await counted(database, found["track", "Order Shipped"]) == {(0, ""): 2, (-5, ""): 1}
    assert await counted(database, found["text", "Birthday 🎂"]) == {(0, "SENDING"): 1, (0, "DELIVERED"): 2}
    assert await counted(database, found["track", "Order Shipped"], workspace_id=2) == {}


async def test_a_tracked_and_a_text_metric_of_one_name_are_two(database: Database):
    await Node(database).record(tracked("event.birthday"), status("event.event_birthday", "SENDING"))
    found = await listed(database)
    assert set(found) == {("track", "event.birthday"), ("text", "event.event_birthday")}
    assert len(set(found.values())) == 2


async def test_an_event_from_the_future_is_counted_in_the_present(database: Database):
    await Node(database).record(tracked("x", START + HOUR), tracked("x", START + 8000 * DAY), tracked("x", -5 * DAY))
    (metric_id,) = (await listed(database)).values()
    assert await counted(database, metric_id) == {(0, ""): 2}


async def test_an_hour_ends_before_the_next_one(database: Database):
    await Node(database).record(tracked("x", START - 1), tracked("x", START), tracked("x", START + QUARTER))
    (metric_id,) = (await listed(database)).values()
    assert await counted(database, metric_id) == {(-1, ""): 1, (0, ""): 2}
    counts = await database.read(count_intervals, 1, metric_id, [START - QUARTER, START, START + QUARTER])
    assert counts == {"": [1, 1]}


async def test_a_page_of_a_feed_is_the_newest_of_any_statuses(database: Database):
    node = Node(database)
    for number in range(12):
        await node.record(status("x", "ABC"[number % 3]), status("y", "A"))
    metric_id = (await listed(database))["text", "x"]
    everything = await entries(database, metric_id, "A", "B", "C")
    assert len(everything) == 12
    assert everything == sorted(everything, reverse=True)
    assert await entries(database, metric_id, "A") == everything[2::3]
    assert await entries(database, metric_id, "B", "C", n=3) == [everything[i] for i in (0, 1, 3)]
    assert await entries(database, metric_id, "A", "B", "C", before=everything[4], n=3) == everything[5:8]
    assert await entries(database, metric_id, "NONE") == []
    assert await entries(database, metric_id) == []


async def test_two_processes_count_the_same_metrics_at_once(store: Store):
    # One process at a time owns the file of SQLite; there, two recorders share it.
    first = store.open()
    second = first if store.dialect == "sqlite" else store.open()
    # The ninth node shares its rows with the first.
    nodes = [Node(first, 1), Node(second, 9), Node(second, 2)]
    names = [f"flow {number}" for number in range(20)]
    await asyncio.gather(
        *(
            nodes[turn % 3].record(
                *(status(name, "SENDING") for name in (names if turn % 2 else reversed(names))),
                *(tracked(name) for name in names),
            )
            for turn in range(30)
        )
    )
    found = await listed(first)
    assert len(found) == 40
    for (source, _), metric_id in found.items():
        assert await counted(first, metric_id) == {(0, "SENDING" if source == "text" else ""): 30}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of three metrics."""
    monkeypatch.setattr(metrics, "MOST_METRICS", 3)


@pytest.mark.usefixtures("few")
async def test_names_over_the_limit_are_counted_together(database: Database):
    node = Node(database)
    await node.record(*(tracked(f"name {number}") for number in range(5)), status("flow", "SENDING"))
    await node.record(tracked("name 0"), tracked("name 4"), tracked("one more"), status("other", "DELIVERED"))
    # Another process, which knows nothing yet, counts alike.
    other = Node(database, 2)
    await other.record(tracked("name 0"), tracked("name 9"), status("flow", "SENDING"))
    # The limit is that of a workspace.
    await other.record(tracked("name 9", workspace_id=2))
    found = await listed(database)
    assert len(found) == 5
    totals = {name: sum((await counted(database, id_)).values()) for name, id_ in found.items()}
    over = totals.pop(("track", "other"))
    assert totals.pop(("text", "other")) == 1
    assert totals[("text", "flow")] == 2
    assert over + sum(totals.values()) == 12
    assert len(await entries(database, found["track", "other"], "")) == over
    assert len(await entries(database, found["text", "other"], "SENDING", "DELIVERED")) == 1
    assert set(await listed(database, 2)) == {("track", "name 9")}


@pytest.mark.usefixtures("few")
async def test_a_full_workspace_is_not_asked_about_unknown_names(database: Database, monkeypatch: pytest.MonkeyPatch):
    node = Node(database)
    await node.record(*(tracked(f"name {number}") for number in range(4)))
    asked: Counter[str] = Counter()
    cls = postgres_store.PostgresTx if database.dialect == "postgres" else sqlite_store.SQLiteTx
    rows = cls.rows

    async def watched(self: Any, query: str, **values: Any) -> list[Row]:
        asked[query] += 1
        return await rows(self, query, **values)

    monkeypatch.setattr(cls, "rows", watched)
    await node.record(*(tracked(f"unknown {number}") for number in range(50)))
    assert not asked


async def test_what_was_rolled_back_is_not_remembered(database: Database):
    node = Node(database)

    async def work(tx: Tx, unit: Unit) -> None:
        unit.emit([tracked("x"), status("y", "SENDING")])
        await node.recorder._react(tx, unit)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await node.recorder.perform(work)
    assert await listed(database) == {}
    await node.record(tracked("x"), status("y", "SENDING"))
    found = await listed(database)
    assert await counted(database, found["track", "x"]) == {(0, ""): 1}
    assert await entries(database, found["text", "y"], "SENDING")


async def test_retention_deletes_counts_and_entries_with_their_events(
    database: Database, held_clock: Callable[[int], None]
):
    node = Node(database)
    await node.recorder.perform(add_workspace)
    await node.record(status("x", "SENDING"), status("y", "SENDING"), tracked("z"))
    held_clock(START + 10 * DAY)
    await node.record(status("x", "SENDING", START + 10 * DAY), tracked("z", START - DAY))
    found = await listed(database)
    assert await prune_events(database, START + 11 * DAY, Retention(30, 30)) == 0
    assert await prune_events(database, START + 12 * DAY, Retention(5, 5)) > 0
    # The names stay, and the counts of the days that are left.
    assert await listed(database) == found
    assert await counted(database, found["track", "z"]) == {}
    (left,) = await entries(database, found["text", "x"], "SENDING")
    assert left >= first_id(START + 10 * DAY)
    assert await database.read(remaining) == [(left, found["text", "x"])]
    later = await database.read(count_intervals, 1, found["text", "x"], [START, START + 11 * DAY])
    assert later == {"SENDING": [1]}


async def test_retention_deletes_whole_days(database: Database, held_clock: Callable[[int], None]):
    node = Node(database)
    await node.recorder.perform(add_workspace)
    midnight = (START // DAY + 1) * DAY
    held_clock(midnight)
    await node.record(tracked("x", midnight - 1), tracked("x", midnight))
    (metric_id,) = (await listed(database)).values()
    edges = [midnight - DAY, midnight - QUARTER, midnight, midnight + QUARTER, midnight + DAY]
    for past, left in ((6 * DAY - 1, [0, 1, 1, 0]), (6 * DAY, [0, 0, 1, 0]), (7 * DAY, [0, 0, 0, 0])):
        await prune_events(database, midnight - DAY + past, Retention(5, 5))
        assert await database.read(count_intervals, 1, metric_id, edges) == {"": left}
        days = await database.read(count_intervals, 1, metric_id, [midnight - DAY, midnight, midnight + DAY])
        assert days == {"": [sum(left[:2]), sum(left[2:])]}


async def add_workspace(tx: Tx, unit: Unit) -> None:
    await tx.run("workspaces.add", id=1, name="first", now=START)


async def remaining(tx: Tx) -> list[tuple[int, int]]:
    rows = await tx.rows("metric_events.older", before=BIG, n=100)
    return [(event_id, metric_id) for metric_id, _, event_id in rows]


async def test_a_migration_counts_the_events_that_are_there(place: Store, monkeypatch: pytest.MonkeyPatch):
    database = place.open()
    before = [one for one in load_migrations(database.dialect) if one[0] < "0023"]
    if place.dialect == "postgres":
        await database.transact(empty)
    for module in (sqlite_store, postgres_store):
        monkeypatch.setattr(module, "load_migrations", lambda dialect: before)
    await database.migrate()

    async def fill(tx: Tx) -> None:
        await tx.insert("event_types.insert", [(1, "event.x", "X!", 5), (2, "event.x", "x", 4)])
        rows: list[Row] = [(first_id(START + n), 1, None, "m", "event.x", None, START, "{}") for n in range(3)]
        rows += [(first_id(START) + 1, 1, None, "m", "page.viewed", None, START, "{}")]
        rows += [(first_id(START + 9), 2, None, "m", "event.x", None, START - HOUR, "{}")]
        await tx.insert("events.insert", rows)

    await database.transact(fill)
    if database.dialect == "sqlite":
        # Two of the events are in the late indexes of that version.
        await database.transact(lambda tx: tx.run("late.mark", bound=first_id(START + 1)))
    monkeypatch.undo()
    assert [name for name in await database.migrate() if name.startswith("0023")]
    mine, theirs = await listed(database), await listed(database, 2)
    assert (list(mine), list(theirs)) == ([("track", "X!")], [("track", "x")])
    assert await counted(database, mine["track", "X!"]) == {(0, ""): 3}
    assert await counted(database, theirs["track", "x"], 2) == {(-1, ""): 1}
    total = await database.read(day_totals, mine["track", "X!"])
    assert total == [(mine["track", "X!"], "", START + 2, 3, 3)]
    place_of = {"workspace_id": 1, "type": "event.x", "since": 0, "before": BIG, "n": 10}
    assert len(await database.read(lambda tx: tx.rows("events.of_type", **place_of))) == 3
    await place.close()


async def day_totals(tx: Tx, metric_id: int) -> list[Row]:
    today = START // DAY * DAY
    period = {"since": today, "until": today + DAY, "recent": today}
    return await tx.rows("metric_counts.totals", workspace_id=1, first=metric_id, last=metric_id, **period)


async def empty(tx: Tx) -> None:
    await tx._connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")  # type: ignore[attr-defined]
