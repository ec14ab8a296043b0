"""One of two nodes dies, or stops for a minute: the other takes over, and no person gets a text twice."""

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import Outside
from tests.engine.messaging.test_sending import number
from tests.nodes.clocks import REAL, clocks_apart
from tests.nodes.conftest import Node, Pair, frozen
from tests.waiting import eventually
from waypost.clock import HOUR, SECOND, now_us
from waypost.storage.database import Tx
from waypost.storage.postgres import PostgresTx

pytestmark = pytest.mark.postgres


async def all_over(pair: Pair, node: Node, *endpoint_ids: int) -> None:
    """Wait until every delivery has ended, and every message was sent or is unknown."""

    async def over() -> bool:
        statuses = {row[0] for row in await node.sql("SELECT DISTINCT status FROM messages")}
        settled = [await node.settled(id_) for id_ in endpoint_ids]
        return statuses <= {"sent", "unknown"} and all(settled)

    await eventually(over)


async def get_to_work(pair: Pair) -> int:
    """Give both nodes deliveries and texts in flight, and more that wait; return the id of the endpoint."""
    endpoint_id = await pair.endpoint("taken-over", concurrency=4)
    pair.outside.behave("taken-over", delay=0.05)
    await pair.connect("http", concurrency=8)
    pair.post.fate("gateway", latency=0.1, receipts=False)
    for node, post, first in ((pair.one, pair.post, 0), (pair.other, pair.other_post, 500)):
        await node.post(60)
        await post.send_many([number(first + n) for n in range(60)])
    await eventually(lambda: all(node.engine.sender.in_flight for node in pair.nodes))
    await eventually(lambda: pair.outside.count("taken-over") >= 8 and pair.one.engine.dispatcher.in_flight)
    return endpoint_id


def texted(pair: Pair) -> Counter[str]:
    """Return how often each number got a text."""
    return Counter(sent["address"] for sent in pair.post.taken("gateway"))


async def test_one_node_dies_and_the_other_takes_over(pair: Pair):
    endpoint_id = await get_to_work(pair)
    dead = pair.one.engine.ids.node
    held = set(pair.one.engine.sender._held)
    await pair.one.die()
    await pair.other.unseen(dead)
    pair.one = pair.other  # Later requests go to the remaining node.
    await all_over(pair, pair.other, endpoint_id)
    rows = await pair.other.sql("SELECT id, address, status FROM messages")
    assert len(rows) == 120
    # Its messages in flight are unknown: they may have arrived. Waiting ones were sent once.
    assert {id_ for id_, _, status in rows if status == "unknown"} <= held
    assert held
    assert set(texted(pair).values()) == {1}
    assert {address for _, address, status in rows if status == "sent"} <= texted(pair).keys()
    balance = await pair.other.balance(endpoint_id)
    assert (balance.accepted, balance.delivered) == (120, 120)
    assert pair.outside.distinct("taken-over") == 120
    assert pair.outside.count("taken-over") >= 120
    await eventually(lambda: pair.other.engine.dispatcher.share == pair.other.engine.sender.share == 1)
    await pair.check()


async def test_a_node_that_stood_still_gives_up_what_is_no_longer_its_own(pair: Pair):
    endpoint_id = await get_to_work(pair)
    one, other = (node.engine for node in pair.nodes)
    old = one.ids.node
    async with frozen(pair.one):
        await pair.other.unseen(old)
        await all_over(pair, pair.other, endpoint_id)
        assert other.dispatcher.share == other.sender.share == 1
        before, flying = texted(pair), one.sender.in_flight
        # For the one that stands still, a minute has passed as well.
        one.node._safe_until = 0.0
        ended = dict(await pair.other.sql("SELECT event_id, settled_at FROM deliveries"))
        # Before the one that stood still tells what became of its calls: then it is known.
        unknown = {row[0] for row in await pair.other.sql("SELECT address FROM messages WHERE status = 'unknown'")}
    await eventually(lambda: one.ids.node != old and other.dispatcher.share == 2)
    await eventually(lambda: not one.dispatcher.holdings and not one.dispatcher.in_flight and not one.dispatcher.held)
    await eventually(lambda: not one.sender._held and not one.sender.in_flight)
    # Nothing that the other node settled was settled again, and only texts in flight left later.
    assert dict(await pair.other.sql("SELECT event_id, settled_at FROM deliveries")) == ended
    later = texted(pair) - before
    assert later.keys() <= unknown
    assert later.total() <= flying
    assert set(texted(pair).values()) == {1}
    assert (await pair.one.balance(endpoint_id)).delivered == pair.outside.distinct("taken-over") == 120
    await pair.check()
    # It continues under its new number.
    await pair.one.post(5)
    await pair.post.send(number(999))
    await eventually(lambda: pair.outside.distinct("taken-over") == 125 and texted(pair)[number(999)] == 1)
    await all_over(pair, pair.other, endpoint_id)
    assert {row[0] for row in await pair.one.sql("SELECT id FROM nodes")} == {one.ids.node, other.ids.node}


async def test_what_a_node_took_under_a_number_it_had_lost_is_taken_over(still: Pair):
    endpoint_id = await still.endpoint("lost")
    engine = still.one.engine
    old = engine.ids.node
    await still.other.unseen(old)
    await still.other.run("heartbeat")
    # It does not know of its eviction yet: a number without a node holds these.
    await still.one.emit(20)
    await still.one.run("heartbeat")
    assert engine.ids.node != old
    assert await still.one.sql("SELECT DISTINCT node FROM deliveries") == [(None,)]

    async def turn() -> bool:
        await still.both("claim", 1)
        return bool(await still.one.settled(endpoint_id))

    await eventually(turn)
    assert still.outside.count("lost") == 20
    await still.check()


async def test_a_node_that_comes_back_while_others_are_evicted_keeps_its_own(
    still: Pair, monkeypatch: pytest.MonkeyPatch
):
    await still.endpoint("beats")
    one, other = (node.engine for node in still.nodes)
    dead = next(n for n in range(1, 4000) if n not in (one.ids.node, other.ids.node))
    held = await still.one.emit(20)
    await still.one.sql("INSERT INTO nodes SELECT $1, 'dead', host, 1, started_at, seen_at FROM nodes LIMIT 1", dead)
    await still.one.sql("UPDATE deliveries SET node = $1 WHERE event_id = ANY($2)", dead, held[:10])
    for id_ in (dead, one.ids.node):
        await still.one.unseen(id_)
    with monkeypatch.context() as patch:
        for name in ("run", "rows"):
            patch.setattr(PostgresTx, name, beat_before_evict(getattr(PostgresTx, name), still.one))
        patch.setattr(one.node, "evict_expired", never)
        await other.heartbeat()
        await other.heartbeat()
    # One was dead, the other came back between the search and the eviction: each keeps its own.
    found = await still.one.sql("SELECT node, count(*) FROM deliveries GROUP BY 1")
    assert dict(found) == {None: 10, one.ids.node: 10}
    assert {row[0] for row in await still.one.sql("SELECT id FROM nodes")} == {one.ids.node, other.ids.node}


def beat_before_evict(ask: Callable[..., Awaitable[Any]], node: Node) -> Callable[..., Awaitable[Any]]:
    """Use the database, but send a heartbeat of a node between the search for dead nodes and their eviction."""

    async def beat_first(tx: Tx, query: str, **values: Any) -> Any:
        if query == "nodes.evict":
            await node.run("heartbeat")
        return await ask(tx, query, **values)

    return beat_first


async def never() -> bool:
    return False


@pytest.mark.parametrize("skew", [-HOUR, -5 * SECOND, 5 * SECOND, HOUR])
async def test_two_nodes_whose_clocks_differ(postgres_url: str, tmp_path: Path, sunk: Outside, skew: int):
    async with clocks_apart(skew, postgres_url, tmp_path, sunk, retry_base=0.01) as (pair, clock):
        numbers = [node.engine.ids.node for node in pair.nodes]
        endpoint_id = await pair.endpoint("skewed")
        pair.outside.script("skewed", *[{"status": 500}] * 6)
        await pair.connect("http")
        pair.post.fate("gateway", receipts=False)
        await pair.one.post(40)
        await clock.run(pair.other.post(40))
        await pair.post.send_many([number(n) for n in range(20)])
        await clock.run(pair.other_post.send_many([number(100 + n) for n in range(20)]))

        async def over() -> bool:
            await pair.one.run("heartbeat")
            await clock.run(pair.other.run("heartbeat"))
            # A retry that a fast clock scheduled is brought back.
            await pair.one.run("clock")
            return bool(await pair.one.settled(endpoint_id)) and (await pair.post.statuses())["sent"] == 40

        await eventually(over)
        assert [node.engine.ids.node for node in pair.nodes] == numbers
        assert [node.engine.dispatcher.share for node in pair.nodes] == [2, 2]
        assert (await pair.one.balance(endpoint_id)).delivered == pair.outside.distinct("skewed") == 80
        assert pair.outside.count("skewed") == 86
        assert set(texted(pair).values()) == {1}
        await pair.check()


async def test_a_clock_that_is_behind_hastens_no_retries(still: Pair, monkeypatch: pytest.MonkeyPatch):
    await still.endpoint("behind")
    ids = await still.one.owed(10)
    due_at = now_us() + int(0.8 * SECOND)
    await still.one.sql("UPDATE deliveries SET due_at = $1, tries = 1 WHERE event_id = ANY($2)", due_at, ids)
    with monkeypatch.context() as patch:
        patch.setattr("time.time_ns", lambda: REAL() - HOUR * 1000)
        await still.other.run("clock")
    assert await still.one.sql("SELECT DISTINCT due_at FROM deliveries") == [(due_at,)]
