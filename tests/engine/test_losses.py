"""Nothing that was accepted is lost when the process, the database or a node fails."""

import asyncio
import functools
from typing import Any

import apsw
import msgspec
import pytest

from tests.engine.conftest import Outside, World, abandon_world, close_world, eventually, open_world
from waypost.clock import MINUTE, SECOND, now_us
from waypost.domain.webhooks.delivery import AttemptOutcome
from waypost.engine.net.request import Response
from waypost.engine.runtime import nodes
from waypost.engine.runtime.journal import Batch, Journal
from waypost.engine.webhooks.attempts import Released
from waypost.engine.webhooks.lane import Attempt
from waypost.errors import Error, Unavailable
from waypost.storage.database import Tx


def more_than(outside: Outside, name: str, count: int) -> bool:
    """Return whether more requests than these arrived."""
    return outside.count(name) > count


async def test_nothing_is_lost_by_a_crash(tmp_path, outside: Outside):
    accepted = 0
    outside.behave("crash", delay=0.01)
    world = await open_world(tmp_path)
    id_ = await world.endpoint(outside.hook("crash"), concurrency=10)
    for turn in range(5):
        # More than a lane holds: some in flight, some queued, some only in the database.
        await asyncio.gather(*(world.post(300, name=f"m{turn}-{n}") for n in range(3)))
        accepted += 900
        await eventually(functools.partial(more_than, outside, "crash", turn * 20))
        await abandon_world(world)
        world = await open_world(tmp_path)
    outside.behave("crash")
    try:
        await world.endpoint(outside.hook("crash-unrelated"))
        balance = await eventually(lambda: world.settled(id_))
        assert (balance.accepted, balance.delivered) == (accepted, accepted)
        assert outside.distinct("crash") == accepted
        await world.check_ledger()
    finally:
        await close_world(world)


async def test_stopping_finishes_what_is_under_way_and_keeps_the_rest(tmp_path, outside: Outside):
    outside.behave("stopped", delay=0.1)
    world = await open_world(tmp_path)
    id_ = await world.endpoint(outside.hook("stopped"), concurrency=5)
    await world.post(1500)
    await eventually(lambda: outside.count("stopped") >= 5)
    await close_world(world)
    count = outside.count("stopped")
    world = await open_world(tmp_path, egress_proxy="http://127.0.0.1:9")
    balance = await world.balance(id_)
    assert (balance.accepted, balance.delivered) == (1500, count)
    await close_world(world)
    outside.behave("stopped")
    world = await open_world(tmp_path)
    try:
        assert (await eventually(lambda: world.settled(id_))).delivered == 1500
        # No delivered webhook was delivered again.
        assert outside.count("stopped") == 1500
    finally:
        await close_world(world)


async def limit_pages(world: World, pages: int) -> int:
    """Limit the database file to this many pages, like a full disk; 0 returns the present number."""

    def job(connection: apsw.Connection) -> int:
        if pages:
            connection.execute(f"PRAGMA max_page_count = {pages}")
        row = connection.execute("PRAGMA page_count").fetchone()
        return int(row[0]) if row else 0

    database = world.database
    return await database._submit(database._writes, job)


async def test_a_full_disk_refuses_what_is_new_and_loses_nothing_old(world: World, outside: Outside):
    outside.behave("full", delay=0.3)
    id_ = await world.endpoint(outside.hook("full"), timeout_ms=30_000)
    await world.post(200)
    await limit_pages(world, await limit_pages(world, 0))
    refused = 0
    # SQLite uses the free space inside the file first.
    for turn in range(30):
        try:
            await world.post(100, name=f"full{turn}")
        except Unavailable:
            refused += 1
            if refused == 3:
                break
    assert refused == 3
    await eventually(lambda: world.engine.journal._reported)
    accepted = (await world.balance(id_)).accepted
    assert (await world.balance(id_)).pending
    await world.check_ledger()
    await limit_pages(world, 1 << 30)
    await world.post(10, name="space")
    balance = await eventually(lambda: world.settled(id_))
    assert (balance.accepted, balance.delivered) == (accepted + 10, accepted + 10)
    # Webhooks that were sent while nothing could be recorded were not sent again.
    assert outside.count("full") == outside.distinct("full") == balance.delivered
    await world.check_ledger()


async def test_stopping_does_not_wait_for_a_store_that_is_away(tmp_path, outside: Outside):
    world = await open_world(tmp_path)
    id_ = await world.endpoint(outside.hook("away", delay=0.2))
    await world.post(200)
    await asyncio.wait_for(world.engine.scheduler.stop(), 5)
    await eventually(lambda: outside.count("away") > 60)

    def refuse(connection: apsw.Connection) -> None:
        connection.execute("PRAGMA query_only = 1")

    await world.database._submit(world.database._writes, refuse)
    await asyncio.wait_for(world.engine.stop(), 10)
    await world.database.close()
    world = await open_world(tmp_path)
    try:
        assert (await eventually(lambda: world.settled(id_))).delivered == 200
        await world.check_ledger()
    finally:
        await close_world(world)


async def test_a_poison_entry_fails_alone(world: World, outside: Outside):
    id_ = await world.endpoint(outside.hook("poison"))
    entries = world.entries(21)
    # The storage refuses this kind of identifier.
    entries[10] = msgspec.structs.replace(entries[10], identifiers=(("horoscope", "virgo"),))
    append = world.engine.journal.append
    results = await asyncio.gather(*(append([entry]) for entry in entries), return_exceptions=True)
    assert [number for number, result in enumerate(results) if result is not None] == [10]
    assert isinstance(results[10], Error)
    assert (await eventually(lambda: world.settled(id_))).delivered == 20
    # The recorder continues.
    await world.post(5, name="later")
    assert (await eventually(lambda: world.settled(id_))).delivered == 25
    await world.check_ledger()


async def test_what_breaks_the_recorder_itself_does_not_end_it(world: World, outside: Outside):
    id_ = await world.endpoint(outside.hook("broken"))
    broken = msgspec.structs.replace(world.entries(1)[0], data="not bytes")
    with pytest.raises(Unavailable):
        await world.engine.journal.append([broken])
    with pytest.raises(Unavailable):
        await world.engine.journal.append([None])
    await world.post(5)
    assert (await eventually(lambda: world.settled(id_))).delivered == 5


async def test_too_much_waiting_is_refused(tmp_path):
    world = await open_world(tmp_path, max_waiting=100)
    try:
        entries = world.entries(150)
        futures = [world.engine.journal.append(entries[:100])]
        with pytest.raises(Unavailable, match="Too many"):
            world.engine.journal.append(entries[100:])
        await asyncio.gather(*futures)
        await world.engine.journal.append(entries[100:])
    finally:
        await close_world(world)
    with pytest.raises(Unavailable):
        world.engine.journal.append(entries[:1])


async def test_the_journal_gives_no_empty_batch_and_misses_none():
    # An empty batch means the end; a report that wakes nothing would wait until something else happens.
    journal = Journal(100)
    reported = 0
    taken = 0

    def report(count: int) -> None:
        for _ in range(count):
            journal.report(attempt_of(1, 1))
            journal.report(Released([(1, 1)]), linger=False)

    async def take() -> None:
        nonlocal taken
        while batch := await journal.next_batch():
            taken += sum(isinstance(item, Attempt) for item in batch.reported)

    def all_taken() -> bool:
        return taken == reported

    taking = asyncio.create_task(take())
    for turn in range(200):
        threads = [asyncio.to_thread(report, turn % 7) for _ in range(3)]
        reported += turn % 7 * 3
        await asyncio.gather(*threads)
        if turn % 10 == 0:
            await eventually(all_taken, within=2)
    assert not taking.done()
    journal.close()
    await asyncio.wait_for(taking, 5)
    assert taken == reported


def attempt_of(endpoint_id: int, event_id: int, **changes: Any) -> Attempt:
    """Return a successful attempt, with changes."""
    now = now_us()
    values: dict[str, Any] = {
        "endpoint_id": endpoint_id,
        "workspace_id": 1,
        "event_id": event_id,
        "number": 1,
        "tries": 1,
        "started_at": now,
        "ended_at": now,
        "outcome": AttemptOutcome.DELIVERED,
        "response": Response(200, [], b"", None, 1),
        "retry_after": None,
        "version": 1,
    }
    return Attempt(**(values | changes))


async def test_an_attempt_of_what_is_not_held_counts_once(world: World, outside: Outside):
    # After an eviction, two attempts of one delivery can end in the same batch, or one that another node has settled.
    id_ = await world.endpoint(outside.hook("twice", delay=0.5), concurrency=1)
    await world.post(2)
    await eventually(lambda: outside.count("twice") == 1)
    newest, oldest = [delivery["event_id"] for delivery in await world.deliveries(id_)]
    twice = [attempt_of(id_, oldest), attempt_of(id_, oldest), attempt_of(id_, newest), attempt_of(id_, 12345)]
    await asyncio.wait_for(world.engine.recorder.record(Batch([], twice)), 5)
    assert (await world.balance(id_)).delivered == 2
    await world.check_ledger()
    await eventually(lambda: outside.count("twice") == 2)
    await eventually(lambda: not world.engine.dispatcher.in_flight)
    assert (await world.balance(id_)).delivered == 2
    await world.check_ledger()


async def test_a_stale_410_does_not_disable_what_was_mended(world: World, outside: Outside):
    id_ = await world.endpoint(outside.hook("mended", delay=0.3), concurrency=1)
    await world.post(1)
    (delivery,) = await world.deliveries(id_)
    await world.change("endpoints.disable", workspace_id=1, id=id_, reason="by_owner", now=now_us())
    await world.change("endpoints.enable", workspace_id=1, id=id_, now=now_us())
    gone = attempt_of(id_, delivery["event_id"], outcome=AttemptOutcome.GONE, response=Response(410, [], b"", None, 1))
    await world.engine.recorder.record(Batch([], [gone]))
    assert (await world.record(id_))["status"] == "enabled"
    assert (await world.balance(id_)).dead == 1
    await world.check_ledger()


async def unseen(tx: Tx, node: int, age: int) -> None:
    """Let the last heartbeat of a process be this long ago."""
    tx._connection.execute("UPDATE nodes SET seen_at = seen_at - ? WHERE id = ?", (age, node))  # type: ignore[attr-defined]


async def test_a_dead_nodes_deliveries_are_taken_over(world: World, outside: Outside):
    ids = world.engine.ids
    own = ids.node
    id_ = await world.endpoint(outside.hook("takeover"))
    # The endpoint has responded before, so it may have ten requests at once.
    await world.post(20)
    # Recorded as well: results that come after the change of the number below would not count.
    await eventually(lambda: world.settled(id_))
    await world.engine.scheduler.stop()
    # The deliveries that another process holds when it dies.
    await world.change("nodes.add", id=77, token="other", host="elsewhere", sends=1)
    await world.database.transact(unseen, 77, MINUTE)
    await world.change("nodes.add", id=78, token="alive", host="elsewhere", sends=1)
    ids.node = 77
    outside.behave("takeover", hang=True)
    await world.post(10)
    await eventually(lambda: outside.count("takeover") == 30)
    ids.node = own
    assert await world.engine.node.count_live() == 2
    assert await world.database.transact(nodes._evict, 10 * SECOND, world.engine.recorder.orphan) is True
    assert await world.database.transact(nodes._evict, 10 * SECOND, world.engine.recorder.orphan) is False
    assert {row["id"] for row in await world.ask("nodes.list")} == {own, 78}
    outside.behave("takeover")
    engine = world.engine
    engine.scheduler.start(engine._jobs())
    balance = await eventually(lambda: world.settled(id_))
    assert balance.delivered == 30
    # The requests of the dead process end late, and change nothing.
    await eventually(lambda: not world.engine.dispatcher.in_flight)
    assert (await world.balance(id_)).delivered == 30
    assert (await world.record(id_))["status"] == "enabled"
    await world.check_ledger()


async def test_a_process_that_was_declared_dead_starts_again(world: World, outside: Outside):
    ids = world.engine.ids
    first = ids.node
    id_ = await world.endpoint(outside.hook("rejoin", delay=0.2), concurrency=2)
    await world.post(20)
    await eventually(lambda: outside.count("rejoin") >= 2)
    # Another node evicted it and took over its number.
    await world.database.transact(nodes._evict, -MINUTE, world.engine.recorder.orphan)
    await world.change("nodes.add", id=first, token="somebody else", host="elsewhere", sends=1)
    await world.engine.heartbeat()
    assert ids.node != first
    rows = {row["id"]: row["token"] for row in await world.ask("nodes.list")}
    assert rows[ids.node] == world.engine.node._token
    assert (await eventually(lambda: world.settled(id_))).delivered == 20
    assert outside.distinct("rejoin") == 20
    await world.check_ledger()


async def test_numbers_run_out():
    class Full:
        async def rows(self, query: str) -> list[tuple[int, str, int]]:
            return [(number, "", 0) for number in range(1, 4096)]

    with pytest.raises(Unavailable, match="Too many processes share this database"):
        await nodes._join(Full(), "token", True, False, None)  # type: ignore[arg-type]
