"""Segments over many people and events, and what tracked segments cost the events that concern none of them."""

import itertools
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.measurements import Plan, Row, Section, Verdict
from waypost.clock import DAY, Ids, now_us
from waypost.domain.audience.conditions import read_condition
from waypost.domain.events.event import Event
from waypost.engine.audience.segment_area import SegmentArea
from waypost.engine.audience.segments import count_people, create_segment
from waypost.engine.audience.trait_indexes import advance_indexes
from waypost.engine.runtime.journal import Journal
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Database, Tx
from waypost.storage.sqlite import SQLite

#: Rows per transaction while the data are made.
STEP = 20_000
#: Live segments, and the events of which each concerns none of them.
SEGMENTS, BATCH, BATCHES = 100, 500, 40
#: The event that one of the live segments names.
NAMED = "event.rare_1"
#: The seconds for a condition on a trait that a saved segment names too.
INDEXED = 0.1
CONDITIONS: dict[str, tuple[Any, float]] = {
    "ordered twice in 30 days": ({"event": "Order Shipped", "at_least": 2, "within": "30d"}, 1.0),
    "ordered for over 90 in 30 days": (
        {"event": "Order Shipped", "within": "30d", "where": {"total": {"gt": 90}}},
        1.0,
    ),
    "has not ordered for 30 days": ({"event": "Order Shipped", "at_most": 0, "within": "30d"}, 1.0),
    "plan is pro": ({"trait": "plan", "is": "pro"}, INDEXED),
    "pro who have not ordered": (
        {"all": [{"trait": "plan", "is": "pro"}, {"event": "Order Shipped", "at_most": 0, "within": "30d"}]},
        1.0,
    ),
}


async def segments(plan: Plan) -> Section:
    """Counts of conditions, and what live segments cost an event; a fifth as many people as stored rows."""
    people, events = plan.stored // 5, plan.stored * 2
    section = Section(title=f"segments: {people} people, {events} events of five types, on SQLite")
    async with filled(people, events) as database:
        for name, (tree, limit) in CONDITIONS.items():
            if limit is INDEXED:
                await save(database, tree)
            condition, times, found = read_condition(tree), [], None
            for _ in range(plan.rounds):
                began = time.perf_counter()
                found = await count_people(database, 1, condition, now_us())
                times.append(time.perf_counter() - began)
            assert found is not None
            exact = "about " if found.approximate else ""
            section.rows.append({"condition": name, "people": f"{exact}{found.count}", "ms": min(times) * 1000})
            share = people / 1_000_000
            claim = f"{name}: seconds for a million people, from {people}"
            section.verdicts.append(Verdict(claim=claim, value=min(times) / share, limit=limit))
        await track(database)
        for name, type_ in (("none of which names the event", "page.viewed"), ("one of which names it", NAMED)):
            # An evaluation reads the history of the person: the events of this measurement must stay few.
            more = await difference(database, type_, *((3, 2) if type_ == NAMED else (max(5, plan.rounds), BATCHES)))
            row: Row = {"condition": f"{SEGMENTS} live segments, {name}: µs of CPU per event", "µs": more * 1e6}
            section.rows.append(row)
            claim = f"µs of CPU per event that changes none of {SEGMENTS} live segments, {name}"
            if type_ != NAMED:
                section.verdicts.append(Verdict(claim=claim, value=more * 1e6, limit=15.0))
    return section


@asynccontextmanager
async def filled(people: int, events: int) -> AsyncIterator[Database]:
    """Return a database with this many people and events, spread over 90 days."""
    with tempfile.TemporaryDirectory() as folder:
        database = SQLite(Path(folder) / "waypost.db")
        await database.migrate()
        try:
            await fill(database, people, events)
            yield database
        finally:
            await database.close()


async def fill(database: Database, people: int, events: int) -> None:
    """Make the data."""
    now, start = now_us(), now_us() - 90 * DAY
    traits = [json.dumps({"plan": [plan, 1], "age": [n, 1]}) for n, plan in enumerate(("free", "pro", "Team", "free"))]
    pool = Ids(1)

    async def write(tx: Tx, query: str, rows: list[Any]) -> None:
        await tx.insert(query, rows)

    ids = list(pool.take(people, start))
    for first in range(0, people, STEP):
        rows = [(id_, 1, None, traits[(id_ >> 12) % 4], start, start) for id_ in ids[first : first + STEP]]
        await database.transact(write, "profiles.insert", rows)
    types = ("event.order_shipped", "page.viewed", "page.viewed", "page.viewed", "email.opened")
    for first in range(0, events, STEP):
        happened: list[tuple[Any, ...]] = []
        for number in range(first, min(first + STEP, events)):
            at = start + (now - start) * number // events
            person = ids[(number * 7919) % people]
            data = json.dumps({"properties": {"total": number % 100}})
            happened.append((pool.one(at), 1, None, f"m{number}", types[number % 5], person, at, data))
        await database.transact(write, "events.insert", happened)
        while await database.maintain():
            pass


async def save(database: Database, tree: Any) -> None:
    """Save a condition, so that its traits are indexed."""

    async def work(tx: Tx) -> None:
        await create_segment(tx, Ids(4), 1, "saved", tree, False, False, now_us())

    await database.transact(work)
    while await advance_indexes(database, now_us):
        pass


async def track(database: Database) -> None:
    """Make live segments about traits, tags and events other than those that are measured."""
    ids = Ids(2)
    for number in range(SEGMENTS):
        tests = [{"tag": f"t{number}"}, {"event": f"Rare {number}", "within": "30d"}, {"trait": "age", "gt": number}]

        async def work(tx: Tx, tests: Any = tests) -> None:
            await create_segment(tx, ids, 1, "live", {"all": tests}, True, False, now_us())
            # The first evaluation of everybody is not what is measured.
            for row in await tx.rows("segments.filling", workspace_id=1):
                await tx.run("segments.fill", id=row[0], filled_to=None, now=now_us())

        await database.transact(work)
    while await advance_indexes(database, now_us):
        pass


async def difference(database: Database, type_: str, pairs: int, batches: int) -> float:
    """Return the seconds of CPU per event that segments add: the median of pairs with and without their area."""
    people = [row[0] for row in await database.read(_people)]
    found = []
    for number in range(pairs + 1):
        with_area = Recorder(database, Journal(1000), Ids(3), [SegmentArea()])
        without = Recorder(database, Journal(1000), Ids(3), [])
        first, second = (with_area, without) if number % 2 else (without, with_area)
        costs = {id(one): await cost(database, one, type_, people, batches) for one in (first, second)}
        # The first pair warms up.
        if number:
            found.append(costs[id(with_area)] - costs[id(without)])
    return statistics.median(found)


async def _people(tx: Tx) -> list[Any]:
    return await tx.rows("segments.next_people", workspace_id=1, after=0, n=BATCH)


_numbers = itertools.count()


async def cost(database: Database, recorder: Recorder, type_: str, people: list[int], batches: int) -> float:
    """Return the seconds of CPU that a recorder takes for an event."""

    async def work(tx: Tx, unit: Unit) -> None:
        now = unit.now
        unit.emit([Event(1, type_, person, now, f"bench-{now}-{next(_numbers)}", b"{}") for person in people])

    began = time.process_time()
    for _ in range(batches):
        await recorder.perform(work)
    spent = (time.process_time() - began) / (batches * len(people))
    while await database.maintain():
        pass
    return spent
