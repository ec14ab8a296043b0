"""Conditions on both databases: SQL and the pure function find the same people, whatever they and the condition are."""

from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.storage.conditions_world import (
    DATES,
    NOW,
    NUMBERS,
    WORDS,
    add_lists,
    add_person,
    assigned,
    next_id,
    people,
    trees,
    with_lists,
)
from waypost.clock import Ids
from waypost.domain.audience.conditions import Condition, read_condition
from waypost.domain.audience.membership import is_member
from waypost.engine.audience.audiences import NOBODY, AudienceSet, count_audience, count_with_sample, page_of_audience
from waypost.engine.audience.facts import load_facts, needed_facts
from waypost.engine.audience.trait_indexes import advance_indexes, declare_indexes
from waypost.storage.database import Database, Tx

IDS = Ids(1)


async def index(database: Database, workspace_id: int, conditions: list[Condition]) -> None:
    """Index the traits that conditions name."""
    await database.transact(declare_indexes, IDS, workspace_id, conditions, NOW)
    while await advance_indexes(database, lambda: NOW):
        pass


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(conditions=st.lists(trees, min_size=1, max_size=8), crowd=st.lists(people, min_size=1, max_size=6))
async def test_sql_and_the_pure_function_find_the_same_people(
    database: Database, conditions: list[Any], crowd: list[dict[str, Any]]
) -> None:
    assume(assigned([conditions, [person["traits"] for person in crowd], [person["events"] for person in crowd]]))
    workspace_id = next_id()

    async def prepare(tx: Tx) -> tuple[list[int], dict[int, int]]:
        lists = await add_lists(tx, workspace_id)
        ids: list[int] = []
        for person in crowd:
            ids.append(await add_person(tx, workspace_id, person, lists, ids[0] if ids else None))
        return ids, lists

    ids, lists = await database.transact(prepare)
    if next_id() % 2:
        await database.maintain()
    trees_here = [with_lists(tree, lists) for tree in conditions]
    parsed = [read_condition(tree) for tree in trees_here]

    async def by_sql(tx: Tx) -> list[list[int]]:
        return [
            await page_of_audience(tx, workspace_id, AudienceSet(conditions=(one,)), NOBODY, 0, 1000, NOW)
            for one in parsed
        ]

    async def by_function(tx: Tx) -> list[list[int]]:
        facts = await load_facts(tx, workspace_id, ids, needed_facts(parsed), NOW)
        return [[id_ for id_ in sorted(facts) if is_member(one, facts[id_], NOW)] for one in parsed]

    pure = await database.read(by_function)
    for tree, one, other in zip(trees_here, await database.read(by_sql), pure, strict=True):
        assert one == other, tree
    await index(database, workspace_id, parsed)
    for tree, one, other in zip(trees_here, await database.read(by_sql), pure, strict=True):
        assert one == other, tree

    async def counted_each(tx: Tx) -> list[int]:
        for one, found in zip(parsed, pure, strict=True):
            assert await count_with_sample(tx, workspace_id, one, 2, NOW) == (len(found), found[:2])
        return [await count_audience(tx, workspace_id, AudienceSet(conditions=(one,)), NOBODY, NOW) for one in parsed]

    assert await database.read(counted_each) == [len(found) for found in pure]

    async def counted(tx: Tx) -> int:
        everyone = AudienceSet(conditions=tuple(parsed))
        return await count_audience(tx, workspace_id, everyone, AudienceSet(conditions=(parsed[0],)), NOW)

    expected = {id_ for found in pure for id_ in found} - set(pure[0])
    assert await database.read(counted) == len(expected)


async def test_every_value_compares_with_every_operand_as_in_the_pure_function(database: Database) -> None:
    values: list[Any] = [*WORDS, *NUMBERS, True, False, None, [], ["pro", 42, "42", True, None, ["pro"]], {"a": 1}]
    operands = [*WORDS, *NUMBERS, True, False]
    tests: list[dict[str, Any]] = [{name: one} for name in ("is", "is_not", "contains") for one in operands]
    tests += [{"starts_with": one} for one in WORDS] + [{"exists": True}, {"exists": False}, {"in": [*WORDS[:3], 42]}]
    tests += [{name: one} for name in ("gt", "gte", "lt", "lte") for one in NUMBERS]
    tests += [{name: one} for name in ("before", "after") for one in DATES]
    workspace_id = next_id()
    blank: dict[str, Any] = {
        "email": None,
        "user": False,
        "lists": {},
        "tags": set(),
        "subscribed": None,
        "merged": None,
    }

    async def prepare(tx: Tx) -> list[int]:
        people = [blank | {"traits": {"v": one}, "events": [("Order Shipped", 0, {"v": one})]} for one in values]
        people.append(blank | {"traits": {}, "events": [("Order Shipped", 0, {})]})
        return [await add_person(tx, workspace_id, person, {}, None) for person in people]

    ids = await database.transact(prepare)
    conditions = [read_condition({"trait": "v", **test}) for test in tests]
    dated = [test for test in tests if not {"30d", "30d ago", "2h ahead", "1s"} & {str(one) for one in test.values()}]
    conditions += [read_condition({"event": "Order Shipped", "where": {"v": test}}) for test in dated]

    async def compare(tx: Tx) -> None:
        facts = await load_facts(tx, workspace_id, ids, needed_facts(conditions), NOW)
        for one in conditions:
            found = await page_of_audience(tx, workspace_id, AudienceSet(conditions=(one,)), NOBODY, 0, 1000, NOW)
            assert found == [id_ for id_ in ids if is_member(one, facts[id_], NOW)], one

    await database.read(compare)
    await index(database, workspace_id, conditions)
    await database.read(compare)
