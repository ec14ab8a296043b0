"""Segments over many people and events, and what tracked segments cost the events that concern none of them."""

import itertools
import json
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
from waypost.engine.runtime.journal import Journal
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Database, Tx
from waypost.storage.sqlite import SQLite

#: Rows per transaction while the data are made.
STEP = 20_000
#: Live segments, and the events of which each concerns none of them.
SEGMENTS, BATCH, BATCHES = 100, 500, 40
CONDITIONS: dict[str, tuple[Any, float]] = {
    "ordered twice in 30 days": ({"event": "Order Shipped", "at_least": 2, "within": "30d"}, 1.0),
    "ordered for over 90 in 30 days": (
        {"event": "Order Shipped", "within": "30d", "where": {"total": {"gt": 90}}},
        1.0,
    ),
    "has not ordered for 30 days": ({"event": "Order Shipped", "at_most": 0, "within": "30d"}, 1.0),
    "plan is pro": ({"trait": "plan", "is": "pro"}, 0.1),
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
        bare = await cost(database, plan.rounds)
        await track(database)
        live = await cost(database, plan.rounds)
        row: Row = {"condition": f"{SEGMENTS} live segments", "people": "", "ms": (live - bare) * 1000}
        section.rows.append(row)
        claim = f"µs per event that changes none of {SEGMENTS} live segments"
        section.verdicts.append(Verdict(claim=claim, value=(live - bare) * 1e6, limit=15.0))
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


async def track(database: Database) -> None:
    """Make live segments about other events than those that are measured."""
    ids = Ids(2)
    for number in range(SEGMENTS):
        tree = {"all": [{"tag": f"t{number}"}, {"event": f"Rare {number}", "within": "30d"}]}

        async def work(tx: Tx, tree: Any = tree) -> None:
            await create_segment(tx, ids, 1, "live", tree, True, False, now_us())
            # The first evaluation of everybody is not what is measured.
            for row in await tx.rows("segments.filling", workspace_id=1):
                await tx.run("segments.fill", id=row[0], filled_to=None)

        await database.transact(work)


async def cost(database: Database, rounds: int) -> float:
    """Return the seconds that the recorder takes for an event, at best."""
    area = SegmentArea()
    recorder = Recorder(database, Journal(1000), Ids(3), [area])
    numbers = itertools.count()
    best = float("inf")
    for _ in range(max(3, rounds)):
        began = time.perf_counter()
        for _ in range(BATCHES):

            async def work(tx: Tx, unit: Unit) -> None:
                now = unit.now
                unit.emit(
                    [Event(1, "page.viewed", 1, now, f"bench-{now}-{next(numbers)}", b"{}") for _ in range(BATCH)]
                )

            await recorder.perform(work)
        best = min(best, (time.perf_counter() - began) / (BATCHES * BATCH))
        while await database.maintain():
            pass
    return best
