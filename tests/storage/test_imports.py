"""Imports and deletions on both databases: each row once, whoever reads it; nothing of a deleted person is left."""

import asyncio
import json
from typing import Any

import pytest

from tests.storage.conftest import Store
from tests.waiting import eventually
from waypost.clock import Ids, now_us
from waypost.domain.audience.import_rows import RowReader
from waypost.domain.audience.lists import MemberAction, MemberState
from waypost.domain.events.segment import Entry
from waypost.engine.audience import imports
from waypost.engine.audience.area import AudienceArea
from waypost.engine.audience.import_files import FileIntake, ImportRequest
from waypost.engine.audience.imports import Importer
from waypost.engine.audience.lists import (
    ContactList,
    add_tags,
    count_members,
    create_list,
    find_list,
    move_members,
    remove_members,
)
from waypost.engine.messaging import deletions
from waypost.engine.messaging.deletions import advance_deletions, delete_profile
from waypost.engine.runtime.journal import Batch, Journal
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Database, Row, Tx

WORKSPACE = 1


class Node:
    """A process that imports."""

    def __init__(self, database: Database, number: int) -> None:
        self.database = database
        self.ids = Ids(number)
        self.recorder = Recorder(database, Journal(1000), self.ids, [AudienceArea()])
        self.importer = Importer(database, self.recorder, self.ids)

    async def receive(self, content: bytes, *, list_id: int | None = None, kind: str = "csv") -> int:
        request = ImportRequest(
            workspace_id=WORKSPACE,
            format=kind,
            mapping=None,
            list_id=list_id,
            source="import",
            dry_run=False,
            confirmed=False,
        )
        intake = FileIntake(self.database, self.ids, request, 1 << 30, now_us())
        for start in range(0, len(content), 100_000):
            await intake.feed(content[start : start + 100_000], now_us())
        plan = await intake.finish(now_us())
        await self.database.transact(intake.begin, plan, now_us())
        return intake.id

    async def make_list(self) -> int:
        async def work(tx: Tx, unit: Unit) -> int:
            made = await create_list(tx, unit.ids, WORKSPACE, "News", unit.now, double_opt_in=False, template_id=None)
            return made.id

        return await self.recorder.perform(work)

    async def get(self, import_id: int) -> dict[str, Any]:
        async def work(tx: Tx) -> dict[str, Any]:
            return (await tx.records("imports.get", workspace_id=WORKSPACE, id=import_id))[0]

        return await self.database.read(work)

    async def members(self, list_id: int) -> tuple[int, dict[MemberState, int]]:
        """How many rows there are, and what is counted."""

        async def work(tx: Tx) -> tuple[int, dict[MemberState, int]]:
            rows = await tx.rows("list_members.page", list_id=list_id, after=0, n=1_000_000)
            return len(rows), (await count_members(tx, [list_id]))[list_id]

        return await self.database.read(work)

    async def rows(self, query: str, **values: Any) -> list[Row]:
        async def work(tx: Tx) -> list[Row]:
            return await tx.rows(query, **values)

        return await self.database.read(work)


def people(count: int, first: int = 0) -> bytes:
    rows = "".join(f"person{n}@example.com,Person {n},vip\n" for n in range(first, first + count))
    return f"email,name,tags\n{rows}".encode()


@pytest.fixture
async def nodes(store: Store) -> list[Node]:
    """Two processes on PostgreSQL, one on SQLite."""
    return [Node(store.open(), number) for number in range(1, 2 if store.dialect == "sqlite" else 3)]


async def test_each_row_is_imported_once_by_any_number_of_processes(nodes: list[Node]) -> None:
    list_id = await nodes[0].make_list()
    ids = [await nodes[0].receive(people(20_000, first), list_id=list_id) for first in (0, 10_000)]

    async def work(node: Node) -> None:
        while True:
            await node.importer.run()
            states = [(await node.get(id_))["state"] for id_ in ids]
            if states == ["done", "done"]:
                return

    await asyncio.gather(*map(work, nodes))
    for id_ in ids:
        found = await nodes[0].get(id_)
        assert (found["rows"], found["imported"], found["rejected"]) == (20_000, 20_000, 0)
    count, counted = await nodes[0].members(list_id)
    assert (count, counted[MemberState.SUBSCRIBED]) == (30_000, 30_000)
    assert await nodes[0].rows("tag_counts.page", workspace_id=WORKSPACE, after="", n=10) == [("vip", 30_000)]
    profiles = await nodes[0].rows("profiles.list", workspace_id=WORKSPACE, before=1 << 62, n=100_000)
    assert len(profiles) == 30_000


async def test_two_processes_that_read_the_same_rows_record_them_once(nodes: list[Node]) -> None:
    node = nodes[-1]
    import_id = await node.receive(people(1000))
    run = await node.database.transact(imports._claim, import_id, node.ids.node)
    again = await node.database.transact(imports._claim, import_id, node.ids.node)
    assert run is not None
    assert again is not None
    reader = RowReader(run.plan.columns, None, {}, WORKSPACE)
    part = await node.importer._prepare(run, reader, run.position, run.row_number)
    assert await node.importer._record_next(run, part, {})
    with pytest.raises(imports.Overtaken):
        await node.importer._record_next(again, part, {})
    assert (await node.get(import_id))["imported"] == 1000


async def test_the_import_of_a_process_that_is_gone_goes_on(nodes: list[Node]) -> None:
    node = nodes[0]
    import_id = await node.receive(people(1000))
    await node.database.transact(imports._claim, import_id, 77)
    await node.importer.run()
    assert (await node.get(import_id))["state"] == "running"

    async def orphan(tx: Tx) -> None:
        await AudienceArea().orphan(tx, [77])

    await node.database.transact(orphan)
    await node.importer.run()
    assert (await node.get(import_id))["state"] == "done"


async def test_the_files_of_ended_imports_are_deleted(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    node = nodes[0]
    await node.receive(people(20_000))
    request = ImportRequest(
        workspace_id=WORKSPACE, format="csv", mapping=None, list_id=None, source="x", dry_run=False, confirmed=False
    )
    broken_off = FileIntake(node.database, node.ids, request, 1 << 30, now_us())
    await broken_off.feed(people(20_000), now_us())
    monkeypatch.setattr(imports, "ABANDONED", -1)

    async def emptied() -> bool:
        await node.importer.run()
        return not await node.rows("import_chunks.left") and not await node.rows("imports.abandoned", before=1 << 62)

    await eventually(emptied)
    assert len(await node.rows("imports.page", workspace_id=WORKSPACE, before=1 << 62, n=10)) == 1


async def find_or_make(node: Node, profiles: list[int]) -> tuple[ContactList, list[int]]:
    list_id = await node.make_list()

    async def work(tx: Tx) -> ContactList:
        return await find_list(tx, WORKSPACE, list_id)

    return await node.database.read(work), profiles


async def test_counts_equal_the_members_after_any_moves(nodes: list[Node]) -> None:
    node = nodes[0]
    made, ids = await find_or_make(node, [node.ids.one(now_us()) for _ in range(50)])

    async def move(tx: Tx, unit: Unit, chosen: list[int], action: MemberAction) -> None:
        await move_members(tx, unit, WORKSPACE, made, chosen, action, "test", events=True)

    for step, action in enumerate([*MemberAction, *reversed(MemberAction), MemberAction.ADD]):
        chosen = ids[step::2]
        await node.recorder.perform(lambda tx, unit, c=chosen, a=action: move(tx, unit, c, a))  # type: ignore[misc]

    async def remove(tx: Tx, unit: Unit) -> int:
        return await remove_members(tx, unit, WORKSPACE, made, ids[:10], "test")

    await node.recorder.perform(remove)
    rows = await node.rows("list_members.page", list_id=made.id, after=0, n=1000)
    _, counted = await node.members(made.id)
    assert {state: sum(row[1] == state for row in rows) for state in MemberState} == counted


async def record(node: Node, user: str, count: int) -> None:
    now = now_us()
    entries = [
        Entry(
            WORKSPACE,
            "track",
            "event.x",
            "X",
            f"{user}-{n}",
            n + 1,
            (("user_id", user),),
            None,
            now,
            now,
            b'{"metric":"X","properties":{"name":"Ada"}}',
        )
        for n in range(count)
    ]
    await node.recorder.record(Batch([], entries))


async def test_a_person_with_many_events_is_deleted_in_steps(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes[0]
    monkeypatch.setattr(deletions, "GRACE", 0)
    monkeypatch.setattr(deletions, "STEP", 100)
    await record(node, "ada", 1250)
    await node.database.maintain()
    ((profile_id, *_),) = await node.rows("profiles.list", workspace_id=WORKSPACE, before=1 << 62, n=10)

    async def tag(tx: Tx, unit: Unit) -> int:
        return await add_tags(tx, unit, WORKSPACE, [(profile_id, "vip")])

    async def delete(tx: Tx, unit: Unit) -> None:
        await delete_profile(tx, unit, WORKSPACE, profile_id)

    await node.recorder.perform(tag)
    await node.recorder.perform(delete)
    # Killed in the middle: another process goes on from where it was.
    await node.recorder.perform(lambda tx, unit: deletions._advance(profile_id, tx, unit))
    other = nodes[-1]
    while await other.rows("deletions.due", now=now_us(), n=10):
        await advance_deletions(other.database, other.recorder)
    rows = await node.rows("events.list", workspace_id=WORKSPACE, before=1 << 62, since=0, n=10_000)
    stripped = [row for row in rows if row[2] == "event.x"]
    assert len(stripped) == 1250
    assert {(row[1], row[3], json.loads(row[5]) == {}) for row in stripped} == {("deleted", None, True)}
    assert await node.rows("events.of_profile", profile_id=profile_id, before=1 << 62, n=10) == []
    assert await node.rows("deletions.events", profile_id=profile_id, before=1 << 62, n=10) == []
    assert await node.rows("tag_counts.page", workspace_id=WORKSPACE, after="", n=10) == []
