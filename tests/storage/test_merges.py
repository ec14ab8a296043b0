"""A merged profile leaves its memberships and tags to the one that it was merged into, on both databases."""

import json

import pytest

from tests.storage.conftest import Store
from tests.storage.test_imports import WORKSPACE, Node
from waypost.clock import now_us
from waypost.domain.audience.lists import MemberAction, MemberState
from waypost.domain.events.segment import Entry, read_entry, read_message
from waypost.engine.audience.identities import resolve_identities
from waypost.engine.audience.lists import add_tags, count_members, find_list, move_members
from waypost.engine.audience.merges import survivors
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Tx


def person(name: str, *, user: str | None = None, email: str | None = None) -> Entry:
    """Return an identify call with these identifiers."""
    said = {"type": "identify", "messageId": name, "traits": {"email": email} if email else {}}
    said |= {"userId": user} if user else {"anonymousId": name}
    return read_entry(read_message(json.dumps(said).encode()), None, WORKSPACE, now_us(), "none")


@pytest.fixture
async def node(store: Store) -> Node:
    return Node(store.open(), 3)


async def identify(node: Node, *entries: Entry) -> list[int]:
    async def work(tx: Tx, unit: Unit) -> list[int]:
        return await resolve_identities(tx, list(entries), unit)

    return await node.recorder.perform(work)


async def enter(node: Node, list_id: int, profile_id: int, action: MemberAction) -> None:
    async def work(tx: Tx, unit: Unit) -> None:
        listed = await find_list(tx, WORKSPACE, list_id)
        await move_members(tx, unit, WORKSPACE, listed, [profile_id], action, "test")

    await node.recorder.perform(work)


async def tag(node: Node, profile_id: int, *tags: str) -> None:
    async def work(tx: Tx, unit: Unit) -> None:
        for one in tags:
            await add_tags(tx, unit, WORKSPACE, [(profile_id, one)])

    await node.recorder.perform(work)


async def members(node: Node, list_id: int) -> list[tuple[int, str]]:
    async def work(tx: Tx) -> list[tuple[int, str]]:
        rows = await tx.rows("list_members.page", list_id=list_id, after=0, n=10)
        counted: dict[MemberState, int] = {
            state: n for state, n in (await count_members(tx, [list_id]))[list_id].items() if n
        }
        assert sum(counted.values()) == len(rows)
        assert all(counted[MemberState(row[1])] for row in rows)
        return [(row[0], row[1]) for row in rows]

    return await node.database.read(work)


async def test_memberships_and_tags_go_to_the_survivor(node: Node) -> None:
    mine, other = await node.make_list(), await node.make_list()
    (known,) = await identify(node, person("1", user="ada"))
    (anonymous,) = await identify(node, person("2", email="ada@example.com"))
    assert known != anonymous
    await enter(node, mine, anonymous, MemberAction.ADD)
    await enter(node, other, anonymous, MemberAction.ADD)
    await enter(node, other, known, MemberAction.ADD)
    await tag(node, anonymous, "vip", "new")
    await tag(node, known, "vip")
    (merged,) = await identify(node, person("3", user="ada", email="ada@example.com"))
    survivor, gone = (known, anonymous) if merged == known else (anonymous, known)
    assert merged == survivor
    assert await members(node, mine) == [(survivor, "subscribed")]
    assert await members(node, other) == [(survivor, "subscribed")]

    async def tags(tx: Tx) -> tuple[list[tuple[int, str]], dict[str, int]]:
        rows = await tx.rows("tags.of_profiles", ids=[survivor, gone])
        counted: dict[str, int] = dict(await tx.rows("tag_counts.page", workspace_id=WORKSPACE, after="", n=10))
        return [(row[0], row[1]) for row in rows], counted

    assert await node.database.read(tags) == ([(survivor, "new"), (survivor, "vip")], {"new": 1, "vip": 1})


async def test_the_later_statement_of_the_two_counts(node: Node) -> None:
    list_id = await node.make_list()
    (known,) = await identify(node, person("1", user="ada"))
    (anonymous,) = await identify(node, person("2", email="ada@example.com"))
    await enter(node, list_id, known, MemberAction.ADD)
    await enter(node, list_id, anonymous, MemberAction.ADD)
    await enter(node, list_id, anonymous, MemberAction.LEAVE)
    (merged,) = await identify(node, person("3", user="ada", email="ada@example.com"))
    assert await members(node, list_id) == [(merged, "unsubscribed")]


async def test_rows_before_a_merge_in_the_same_batch_lead_to_the_survivor(node: Node) -> None:
    first, second, both = await identify(
        node,
        person("1", user="ada"),
        person("2", email="ada@example.com"),
        person("3", user="ada", email="ada@example.com"),
    )
    assert first == second == both


def test_chains_of_merges_end_at_the_last_one() -> None:
    assert survivors([(5, 3), (4, 3), (3, 1)]) == {5: 1, 4: 1, 3: 1}
