"""Nodes: heartbeats and evictions use the database's clock, because the clocks of machines differ."""

import time

import pytest

from tests.storage.conftest import Store
from tests.storage.test_deliveries import ENDPOINT, owe, settle
from waypost.clock import HOUR, SECOND, Ids
from waypost.engine.runtime.nodes import Node
from waypost.engine.webhooks.claims import release_held
from waypost.storage.database import Database, Tx
from waypost.storage.postgres import Postgres

MINUTE = 60 * SECOND
REAL = time.time_ns


@pytest.fixture
async def two(store: Store) -> tuple[tuple[Database, Node, Ids], tuple[Database, Node, Ids]]:
    """Two processes on one database."""
    found = []
    for _ in range(2):
        database, ids = store.open(), Ids(0)
        found.append((database, Node(database, ids, release_held), ids))
    return found[0], found[1]


async def age(tx: Tx, node: int, by: int) -> None:
    """Let the last heartbeat of this process be this long ago."""
    connection = tx._connection  # type: ignore[attr-defined]
    await connection.execute("UPDATE nodes SET seen_at = seen_at - $1 WHERE id = $2", by, node)


async def of_node(tx: Tx, node: int) -> int:
    end = {"endpoint_id": -1, "due_at": 0, "event_id": 0, "to_endpoint": 1 << 62, "to_due": 0, "to_event": 0}
    return sum(row[2] == node for row in await tx.rows("deliveries.unknown_to_holder", **end, node=node))


@pytest.mark.parametrize("skew", [10 * SECOND, HOUR, -HOUR])
async def test_a_clock_that_is_wrong_kills_nobody(store: Store, two, monkeypatch: pytest.MonkeyPatch, skew: int):
    if store.dialect == "sqlite":
        return  # Only one process opens the file.
    (_, one, _), (_, other, _) = two
    await one.join()
    with monkeypatch.context() as patch:
        patch.setattr("time.time_ns", lambda: REAL() + skew * 1000)
        await other.join()
        assert not await other.evict_expired()
        assert await other.count_live() == 2
    await one.beat()
    await other.beat()
    assert not await one.evict_expired()
    assert await one.count_live() == 2


async def test_no_clock_of_this_process_goes_into_the_nodes(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.time_ns", lambda: 5)
    node = Node(store.open(), Ids(0), release_held)
    await node.join()
    await node.beat()
    assert await node.count_live() == 1
    rows = await store.open().read(lambda tx: tx.rows("nodes.list"))
    assert 0 <= rows[0][2] < MINUTE


@pytest.mark.postgres
async def test_one_that_thaws_after_a_minute_settles_nothing_that_others_hold(postgres_url: str):
    here, there = Postgres(postgres_url), Postgres(postgres_url)
    frozen_ids, other_ids = Ids(0), Ids(0)
    frozen, other = Node(here, frozen_ids, release_held), Node(there, other_ids, release_held)
    await frozen.join()
    await other.join()
    old = frozen_ids.node
    await here.transact(owe, (1, 5, old), (2, 5, old))
    await there.transact(age, old, MINUTE)
    assert await other.evict_expired()

    async def claim(tx: Tx) -> int:
        return len(await tx.rows("deliveries.claim", endpoint_id=ENDPOINT, node=other_ids.node, now=10, n=1))

    assert await there.transact(claim) == 1
    # It continues without knowing of its eviction: it settles nothing, and what it records has no holder.
    assert await here.transact(settle, old, (1, "delivered", None, None), (2, "delivered", None, None)) == 0
    await here.transact(owe, (3, 5, old))
    await frozen.beat()
    assert frozen_ids.node != old
    assert await here.read(of_node, old) == 0
    assert await here.read(of_node, other_ids.node) == 1
    assert await frozen.count_live() == 2
    await here.close()
    await there.close()


@pytest.mark.postgres
async def test_giving_up_counts_once(postgres_url: str):
    one, other = Postgres(postgres_url), Postgres(postgres_url)
    await one.transact(owe, *((n, n, None) for n in range(1, 201)))

    async def give_up(tx: Tx) -> int:
        return await tx.run("deliveries.give_up", endpoint_id=ENDPOINT, reason="endpoint_deleted", now=5, n=150)

    async def both(tx: Tx) -> int:
        mine = await give_up(tx)
        # The second process does it before the first has committed.
        return mine + await other.transact(give_up)

    assert await one.transact(both) == 200
    assert await one.transact(give_up) == 0
    await one.close()
    await other.close()
