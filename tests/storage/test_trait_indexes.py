"""Indexes of traits on both databases: they are complete at every instant, and queries read nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.storage.conditions_world import next_id, statement
from tests.storage.conftest import Store
from waypost.clock import Ids
from waypost.domain.audience.conditions import read_condition
from waypost.domain.audience.trait_indexes import MOST_INDEXES
from waypost.engine.audience.area import AudienceArea
from waypost.engine.audience.audiences import NOBODY, AudienceSet, count_audience, page_of_audience
from waypost.engine.audience.profiles import identify
from waypost.engine.audience.segment_area import SegmentArea, follow_segments
from waypost.engine.audience.segments import change_segment, create_segment, delete_segment, find_segment
from waypost.engine.audience.trait_indexes import advance_indexes, usable_indexes
from waypost.engine.messaging.deletions import delete_profile
from waypost.engine.runtime.journal import Journal
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.unit import Unit
from waypost.storage.conditions import PeopleSet, count_ids, select_ids
from waypost.storage.database import Database, Row, Select, Tx

PRO = {"trait": "plan", "is": "pro"}
NOW = 1_790_000_000_000_000


class Town:
    """A workspace with its process."""

    def __init__(self, database: Database, number: int = 1) -> None:
        self.database = database
        self.workspace_id = next_id()
        self.ids = Ids(number)
        self.area = SegmentArea()
        self.recorder = Recorder(database, Journal(100), self.ids, [AudienceArea(), self.area])

    async def save(self, tree: Any, *, tracked: bool = False) -> int:
        async def work(tx: Tx) -> int:
            made = await create_segment(tx, self.ids, self.workspace_id, "s", tree, tracked, False, NOW)
            return made.id

        return await self.database.transact(work)

    async def identify(self, user: str, **traits: Any) -> int:
        async def work(tx: Tx, unit: Unit) -> int:
            return (await identify(tx, unit, self.workspace_id, [("user_id", user)], traits))[0]

        return await self.recorder.perform(work)

    async def fill(self) -> None:
        while await advance_indexes(self.database, lambda: NOW):
            pass

    async def values(self) -> dict[tuple[str, int], tuple[Any, Any]]:
        """Return what the indexes hold, by path and person."""
        rows = await self.database.read(
            select,
            "SELECT t.path, v.profile_id, v.value, v.number FROM trait_values v JOIN trait_indexes t "
            "ON t.id = v.index_id WHERE t.workspace_id = :a ORDER BY 1, 2",
            a=self.workspace_id,
        )
        return {(row[0], row[1]): (row[2], row[3]) for row in rows}

    async def states(self) -> list[tuple[str, str]]:
        rows = await self.database.read(
            select,
            "SELECT path, state FROM trait_indexes WHERE workspace_id = :a ORDER BY path, state",
            a=self.workspace_id,
        )
        return [(row[0], row[1]) for row in rows]

    async def count(self, tree: Any) -> int:
        async def work(tx: Tx) -> int:
            audience = AudienceSet(conditions=(read_condition(tree),))
            found = await page_of_audience(tx, self.workspace_id, audience, NOBODY, 0, 1000, NOW)
            assert len(found) == await count_audience(tx, self.workspace_id, audience, NOBODY, NOW)
            return len(found)

        return await self.database.read(work)

    async def plan(self, tree: Any, query: Callable[..., Select], **more: Any) -> str:
        """Return how the database answers a condition."""

        async def work(tx: Tx) -> list[Row]:
            condition = read_condition(tree)
            indexes = await usable_indexes(tx, self.workspace_id, [condition])
            people, nobody = PeopleSet(conditions=[condition]), PeopleSet()
            found = query(tx.dialect, self.workspace_id, people, nobody, NOW, indexes=indexes, **more)
            word = "EXPLAIN QUERY PLAN" if tx.dialect == "sqlite" else "EXPLAIN"
            return await tx.select(Select(f"{word} {found.text}", found.values))

        return "\n".join(str(row[-1]) for row in await self.database.read(work))


async def select(tx: Tx, /, text: str, **values: Any) -> list[Row]:
    return await tx.select(Select(text, values))


async def test_an_index_follows_the_traits_from_its_first_moment(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waypost.engine.audience.trait_indexes.STEP", 2)
    town = Town(database)
    old = [await town.identify(f"old{n}", plan="Pro", level=n) for n in range(5)]
    segment = await town.save({"all": [PRO, {"trait": "address.city", "exists": True}]})
    # Before the index is complete, those that it has not reached are written too.
    new = await town.identify("new", plan="pro", address={"city": True})
    await town.identify("old4", plan="free")
    assert await town.values() == {
        ("address.city", new): ("b1", None),
        ("plan", new): ("spro", None),
        ("plan", old[4]): ("sfree", None),
    }
    assert await town.count(PRO) == 5
    await town.fill()
    assert await town.states() == [("address.city", "complete"), ("plan", "complete")]
    assert await town.count(PRO) == 5
    await town.identify("old0", plan=None)
    await town.identify("old1", plan="42.0")
    await town.identify("old2", plan=["pro"])
    found = await town.values()
    assert ("plan", old[0]) not in found
    assert found["plan", old[1]] == ("s42.0", 42.0)
    assert found["plan", old[2]] == (None, None)
    assert await town.count({"trait": "plan", "gte": 42}) == 1
    assert await town.count({"trait": "plan", "exists": True}) == 5
    # What no segment names any more is dropped and emptied.
    await database.transact(delete_segment, town.ids, town.workspace_id, segment, NOW)
    assert [state for _, state in await town.states()] == ["dropped", "dropped"]
    assert await town.count(PRO) == 2
    await town.fill()
    assert (await town.states(), await town.values()) == ([], {})


async def test_profiles_that_are_merged_or_deleted_leave_the_index(database: Database) -> None:
    town = Town(database)
    await town.save(PRO)
    await town.fill()
    await town.identify("ada", plan="free")

    async def merge(tx: Tx, unit: Unit) -> int:
        first, _ = await identify(tx, unit, town.workspace_id, [("anonymous_id", "a1")], {"plan": "pro"})
        return first

    async def join(tx: Tx, unit: Unit) -> int:
        identifiers: Any = [("user_id", "ada"), ("anonymous_id", "a1")]
        return (await identify(tx, unit, town.workspace_id, identifiers, {}))[0]

    gone = await town.recorder.perform(merge)
    assert await town.count(PRO) == 1
    ada = await town.recorder.perform(join)
    assert gone != ada
    assert list(await town.values()) == [("plan", ada)]
    assert await town.count(PRO) == 1

    async def delete(tx: Tx, unit: Unit) -> None:
        await delete_profile(tx, unit, town.workspace_id, ada)

    await town.recorder.perform(delete)
    assert await town.values() == {}


async def test_an_import_without_events_is_indexed_where_no_segment_is_tracked(database: Database) -> None:
    town = Town(database)
    await town.save(PRO)
    await town.fill()

    async def record(tx: Tx, unit: Unit) -> None:
        await identify(tx, unit, town.workspace_id, [("user_id", "ada")], {"plan": "pro"})
        # As the rows of an import, which make no events.
        unit.events.clear()

    await town.recorder.perform(record)
    assert await town.count(PRO) == 1


async def test_indexes_follow_changes_of_segments_and_are_limited(database: Database) -> None:
    town = Town(database)
    segment = await town.save(PRO)
    await town.save({"any": [{"trait": f"t{n}", "is": 1} for n in range(MOST_INDEXES + 5)]})
    states = await town.states()
    assert len(states) == MOST_INDEXES
    assert ("plan", "filling") in states
    await town.fill()

    async def change(tx: Tx) -> None:
        was = await find_segment(tx, town.workspace_id, segment)
        tree = {"trait": "plan", "starts_with": "p"}
        await change_segment(tx, town.ids, town.workspace_id, was, "s", tree, False, False, NOW)

    await database.transact(change)
    states = await town.states()
    assert ("plan", "dropped") in states
    assert len([one for one in states if one[1] != "dropped"]) == MOST_INDEXES
    assert len([one for one in states if one[1] == "filling"]) == 1
    # Another workspace has its own.
    other = Town(database)
    await other.identify("ada", plan="pro")
    assert await other.values() == {}


async def test_a_count_reads_nothing_but_the_index(database: Database) -> None:
    town = Town(database)
    await town.save({"all": [PRO, {"trait": "level", "gt": 3}]})

    async def many(tx: Tx) -> None:
        first = town.ids.one(NOW)
        rows = []
        for n in range(3000):
            traits = f'{{"plan":["{("free", "pro", "team", "old")[n % 4]}",1],"level":[{n % 50},1]}}'
            rows.append((first + n * 4096, town.workspace_id, None, traits, 0, 0))
        await tx.insert("profiles.insert", rows)

    await database.transact(many)
    await town.fill()
    if database.dialect == "postgres":
        await database.transact(analyze)
    for tree in (PRO, {"trait": "plan", "in": ["pro", "old"]}, {"all": [PRO]}):
        plans = [await town.plan(tree, count_ids)]
        if "in" not in tree:
            plans.append(await town.plan(tree, select_ids, n=10))
        for plan in plans:
            assert "trait_values_by_value" in plan, plan
            assert "profiles" not in plan, plan
            assert " p " not in plan, plan
    plan = await town.plan({"trait": "level", "gt": 47}, count_ids)
    assert "trait_values_by_number" in plan, plan
    assert await town.count(PRO) == 750
    assert await town.count({"all": [PRO, {"trait": "level", "is": 1}]}) == 30
    assert await town.count({"all": [PRO, {"trait": "other", "exists": False}]}) == 750
    assert await town.count({"all": [PRO, {"tag": "vip"}]}) == 0


async def analyze(tx: Tx) -> None:
    await statement(tx, "ANALYZE trait_values")


async def test_a_process_that_died_while_it_filled_an_index_is_continued(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waypost.engine.audience.trait_indexes.STEP", 2)
    dead = Town(store.open())
    for n in range(7):
        await dead.identify(f"u{n}", plan="pro")
    await dead.save(PRO, tracked=True)
    await advance_indexes(dead.database, lambda: NOW)
    assert len(await dead.values()) == 2
    heir = Town(store.open(), 2)
    heir.workspace_id = dead.workspace_id
    # The job of the engine does it.
    while await follow_segments(heir.database, heir.recorder, heir.area, lambda: NOW) == 0.0:
        pass
    assert len(await heir.values()) == 7
    assert await heir.states() == [("plan", "complete")]
