"""Tracked segments on both databases: at every instant their members are those for whom the condition holds."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.storage.conditions_world import (
    DATES,
    METRICS,
    NAMES,
    NOW,
    TAGS,
    next_id,
    statement,
    trees,
    values,
    with_lists,
)
from tests.storage.conftest import Store
from waypost.clock import DAY, HOUR, Ids
from waypost.domain.audience.segment_events import ENTERED, LEFT
from waypost.domain.events.segment import read_entry, read_message
from waypost.engine.audience.area import AudienceArea
from waypost.engine.audience.audiences import NOBODY, AudienceSet, page_of_audience
from waypost.engine.audience.changes import ProfileChanges
from waypost.engine.audience.segment_area import SegmentArea, follow_segments
from waypost.engine.audience.segments import SavedSegment, change_segment, create_segment, delete_segment
from waypost.engine.runtime.journal import Batch, Journal
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Database, Row, Tx
from waypost.storage.postgres import Postgres

LISTS = (901, 902)


class Keeper:
    """A process that keeps segments, whose clock the test moves."""

    def __init__(self, database: Database, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database = database
        self.now = NOW
        self.workspace_id = next_id()
        self.ids = Ids(number)
        self.area = SegmentArea()
        self.recorder = Recorder(database, Journal(1000), self.ids, [AudienceArea(), self.area])
        self.segments: list[SavedSegment] = []
        self._messages = 0
        monkeypatch.setattr("waypost.engine.runtime.recorder.now_us", lambda: self.now)

    async def create(self, tree: Any, *, announces: bool = False) -> SavedSegment:
        async def work(tx: Tx) -> SavedSegment:
            return await create_segment(tx, self.ids, self.workspace_id, "s", tree, True, announces, self.now)

        segment = await self.database.transact(work)
        self.segments.append(segment)
        return segment

    async def change(self, index: int, tree: Any) -> None:
        was = self.segments[index]

        async def work(tx: Tx) -> SavedSegment:
            return await change_segment(tx, self.ids, self.workspace_id, was, "s", tree, True, False, self.now)

        self.segments[index] = await self.database.transact(work)

    async def send(self, person: str, kind: str = "track", **fields: Any) -> None:
        """Record what a client sends."""
        self._messages += 1
        message = {"type": kind, "messageId": f"{self.workspace_id}-{self._messages}", "userId": person} | fields
        entry = read_entry(read_message(json.dumps(message).encode()), None, self.workspace_id, self.now, "none")
        future = asyncio.get_running_loop().create_future()
        await self.recorder.record(Batch([([entry], future)]))
        await future

    async def note(self, person: int, change: str, text: str, **values: Any) -> None:
        """Change something about a person without an event, as an import does."""

        async def work(tx: Tx, unit: Unit) -> None:
            await statement(tx, text, **values)
            unit.notes(ProfileChanges).add(person, change)

        await self.recorder.perform(work)

    async def follow(self) -> None:
        while await follow_segments(self.database, self.recorder, self.area, lambda: self.now) == 0.0:
            pass

    async def people(self) -> list[int]:
        async def work(tx: Tx) -> list[Row]:
            return await tx.rows("segments.next_people", workspace_id=self.workspace_id, after=0, n=1000)

        return [row[0] for row in await self.database.read(work)]

    async def members(self, segment_id: int) -> list[int]:
        people = await self.people()

        async def work(tx: Tx) -> list[Row]:
            return await tx.rows("segment_members.of", ids=people)

        return sorted(row[1] for row in await self.database.read(work) if row[0] == segment_id)

    async def expected(self, segment_id: int) -> list[int]:
        async def work(tx: Tx) -> list[int]:
            audience = AudienceSet(segments=(segment_id,))
            return await page_of_audience(tx, self.workspace_id, audience, NOBODY, 0, 1000, self.now)

        return await self.database.read(work)

    async def check(self) -> None:
        """Fail unless every segment has exactly the members that it should have now."""
        for segment in self.segments:
            assert await self.members(segment.id) == await self.expected(segment.id), segment.condition

    async def changes(self, segment_id: int) -> list[tuple[int, str]]:
        """Return the events of a segment in order: profile and type."""

        async def work(tx: Tx) -> list[Row]:
            return await tx.rows("events.after", workspace_id=self.workspace_id, after=0, until=1 << 62, n=10_000)

        rows = await self.database.read(work)
        return [
            (row[3], row[2])
            for row in rows
            if row[2] in (ENTERED, LEFT) and json.loads(row[5])["segment"]["id"] == f"seg_{segment_id:016x}"
        ]


STEPS = st.one_of(
    st.tuples(
        st.just("event"),
        st.integers(0, 2),
        st.sampled_from(METRICS[:1]),
        st.sampled_from([0, -HOUR, -3 * HOUR, -31 * DAY, HOUR]),
        st.dictionaries(st.sampled_from(NAMES), values, max_size=1),
    ),
    st.tuples(
        st.just("traits"),
        st.integers(0, 2),
        st.dictionaries(st.sampled_from(NAMES), st.one_of(values, st.sampled_from(DATES[:2])), max_size=2),
    ),
    st.tuples(st.just("tag"), st.integers(0, 2), st.sampled_from(TAGS)),
    st.tuples(st.just("time"), st.sampled_from([1, HOUR, 2 * HOUR, 10 * DAY, 31 * DAY])),
    st.tuples(st.just("merge"), st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.just("change"), st.integers(0, 1), trees),
    st.tuples(st.just("maintain")),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(conditions=st.lists(trees, min_size=2, max_size=2), steps=st.lists(STEPS, max_size=12))
async def test_members_are_right_at_every_instant(
    store: Store, conditions: list[Any], steps: list[tuple[Any, ...]]
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        keeper = Keeper(store.open(), next_id() % 4000, monkeypatch)
        lists = {}
        for list_id in LISTS:
            lists[list_id] = next_id()
            await keeper.database.transact(add_list, lists[list_id], keeper.workspace_id)
        for number, tree in enumerate(conditions):
            await keeper.create(with_lists(tree, lists), announces=bool(number))
        for kind, *more in steps:
            keeper.now += 1000
            if kind == "event":
                person, metric, at, properties = more
                when = (keeper.now + at) / 1_000_000
                await keeper.send(f"u{person}", event=metric, properties=properties, timestamp=when)
            elif kind == "traits":
                await keeper.send(f"u{more[0]}", "identify", traits=more[1])
            elif kind == "tag":
                people = await keeper.people()
                if people:
                    person = people[more[0] % len(people)]
                    await keeper.note(
                        person,
                        f"tag:{more[1]}",
                        "INSERT INTO profile_tags (workspace_id, tag, profile_id, created_at) "
                        "VALUES (:a, :b, :c, 0) ON CONFLICT DO NOTHING",
                        a=keeper.workspace_id,
                        b=more[1],
                        c=person,
                    )
            elif kind == "time":
                keeper.now += more[0]
            elif kind == "merge" and more[0] != more[1]:
                await keeper.send(f"u{more[0]}", "alias", previousId=f"u{more[1]}")
            elif kind == "change":
                await keeper.change(more[0], with_lists(more[1], lists))
            elif kind == "maintain":
                await keeper.database.maintain()
            await keeper.follow()
            await keeper.check()
        for segment in keeper.segments:
            latest: dict[int, str] = {}
            for profile_id, type_ in await keeper.changes(segment.id):
                assert latest.get(profile_id) != type_, (segment, profile_id, type_)
                latest[profile_id] = type_


async def add_list(tx: Tx, list_id: int, workspace_id: int) -> None:
    await statement(
        tx,
        "INSERT INTO lists (id, workspace_id, name, double_opt_in, created_at, updated_at) "
        "VALUES (:a, :b, 'x', 0, 0, 0)",
        a=list_id,
        b=workspace_id,
    )


async def test_time_alone_takes_people_out_and_brings_them_in(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(database, 1, monkeypatch)
    active = await keeper.create({"event": "Order Shipped", "within": "2h"})
    idle = await keeper.create({"event": "Order Shipped", "at_most": 0, "within": "2h"})
    await keeper.send("ada", event="Order Shipped")
    (ada,) = await keeper.people()
    assert await keeper.changes(active.id) == [(ada, ENTERED)]
    keeper.now += 2 * HOUR - 1
    await keeper.follow()
    assert await keeper.changes(idle.id) == []
    keeper.now += 1
    await keeper.follow()
    assert await keeper.changes(active.id) == [(ada, ENTERED), (ada, LEFT)]
    assert await keeper.changes(idle.id) == [(ada, ENTERED)]
    await keeper.check()


async def test_those_who_are_in_already_enter_silently_unless_it_is_wanted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(database, 1, monkeypatch)
    monkeypatch.setattr("waypost.engine.audience.segment_area.STEP", 2)
    for number in range(5):
        await keeper.send(f"u{number}", "identify", traits={"plan": "pro"})
    silent = await keeper.create({"trait": "plan", "is": "pro"})
    loud = await keeper.create({"trait": "plan", "is": "pro"}, announces=True)
    # Before the first evaluation has reached them, too.
    await keeper.send("u4", "identify", traits={"plan": "PRO"})
    await keeper.send("new", "identify", traits={"plan": "pro"})
    await keeper.follow()
    await keeper.check()
    people = await keeper.people()
    assert len(people) == 6
    assert await keeper.changes(silent.id) == [(people[5], ENTERED)]
    assert sorted(await keeper.changes(loud.id)) == [(person, ENTERED) for person in people]


async def test_a_deleted_segment_loses_its_members(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper(database, 1, monkeypatch)
    segment = await keeper.create({"not": {"tag": "vip"}})
    await keeper.send("ada", event="Order Shipped")
    assert len(await keeper.members(segment.id)) == 1
    await database.transact(delete_segment, keeper.ids, keeper.workspace_id, segment.id, keeper.now)
    await keeper.follow()
    assert await keeper.members(segment.id) == []
    await keeper.send("bob", event="Order Shipped")
    assert await keeper.members(segment.id) == []


async def test_a_process_that_died_in_the_first_evaluation_is_continued(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waypost.engine.audience.segment_area.STEP", 2)
    dead = Keeper(store.open(), 1, monkeypatch)
    for number in range(7):
        await dead.send(f"u{number}", "identify", traits={"plan": "pro"})
    segment = await dead.create({"trait": "plan", "is": "pro"}, announces=True)
    await dead.recorder.perform(dead.area.fill)

    async def fail(tx: Tx, unit: Unit) -> None:
        await dead.area.fill(tx, unit)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await dead.recorder.perform(fail)
    assert len(await dead.members(segment.id)) == 2
    heir = Keeper(store.open(), 2, monkeypatch)
    heir.workspace_id, heir.segments = dead.workspace_id, dead.segments
    await heir.follow()
    await heir.check()
    assert [type_ for _, type_ in await heir.changes(segment.id)] == [ENTERED] * 7


@pytest.mark.postgres
async def test_two_processes_count_the_events_of_one_person_together(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = Postgres(postgres_url), Postgres(postgres_url)
    one, other = (Keeper(database, number, monkeypatch) for number, database in enumerate(stores, 1))
    other.workspace_id = one.workspace_id
    other._messages = 1000
    segment = await one.create({"event": "Order Shipped", "at_least": 2, "within": "30d"})
    await one.follow()
    for number in range(15):
        await one.send(f"u{number}", "identify", traits={})
        await asyncio.gather(
            one.send(f"u{number}", event="Order Shipped"), other.send(f"u{number}", event="Order Shipped")
        )
        assert len(await one.members(segment.id)) == number + 1
    await one.check()
    # What is due is taken by one of them.
    one.now = other.now = one.now + 40 * DAY
    await asyncio.gather(one.follow(), other.follow())
    await one.check()
    for database in stores:
        await database.close()
