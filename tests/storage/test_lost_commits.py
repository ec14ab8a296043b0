"""PostgreSQL is lost during a commit: no delivery stays with a process that does not know of it."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.services import PostgresServer
from tests.storage.conftest import Store
from tests.storage.pgproxy import Proxy, proxied
from tests.storage.test_deliveries import owe
from tests.storage.test_recorder import Parts, add_endpoint, add_workspace, entry, owed
from waypost.clock import Ids
from waypost.engine.webhooks import holdings
from waypost.engine.webhooks.holdings import Holdings, LookBack
from waypost.errors import Unavailable
from waypost.storage.database import Database, Row, Tx
from waypost.storage.postgres import Postgres

BIG = (1 << 63) - 1


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def cut(postgres: PostgresServer, postgres_url: str) -> AsyncIterator[tuple[Proxy, Postgres]]:
    """A database behind a proxy that can cut the connection."""
    # The path of a Unix socket must be short.
    with tempfile.TemporaryDirectory(prefix="waypost-proxy-") as folder:
        async with proxied(postgres, Path(folder), postgres_url) as (proxy, url):
            database = Postgres(url, pool_size=2)
            yield proxy, database
            await database.close()


async def holders(tx: Tx) -> list[Row]:
    end = {"endpoint_id": -1, "due_at": 0, "event_id": 0, "to_endpoint": BIG, "to_due": 0, "to_event": 0}
    return await tx.rows("deliveries.unknown_to_holder", **end, node=1)


@pytest.mark.postgres
async def test_a_commit_that_was_not_confirmed_leaves_no_delivery_behind(cut):
    proxy, database = cut
    parts = Parts(database)
    parts.dispatcher._draining = False
    await database.transact(add_workspace)
    await database.transact(add_endpoint, parts.encryption, 7)
    clock = Clock()
    look_back = LookBack(database, parts.ids, parts.dispatcher.holdings, clock)
    proxy.cut_next_commit = True
    with pytest.raises(Unavailable, match="may have been stored"):
        await parts.send([entry("m1", user_id="u1")])
    assert proxy.cuts == 1
    # The client retries and succeeds.
    await parts.send([entry("m1", user_id="u1")])
    assert (parts.recorder.repeats, await database.read(owed)) == (1, [(7, 1, 0, 1, 0)])
    assert len(await database.read(holders)) == 1
    assert await look_back.release_forgotten() == 0
    clock.now += holdings.FORGOTTEN_S - 1
    assert await look_back.release_forgotten() == 0
    clock.now += 1
    assert await look_back.release_forgotten() == 1
    assert await database.read(holders) == []

    async def claim(tx: Tx) -> list[Row]:
        return await tx.rows("deliveries.claim", endpoint_id=7, node=1, now=BIG, n=10)

    assert len(await database.transact(claim)) == 1
    await parts.outbound.stop()


@pytest.mark.postgres
async def test_a_session_that_the_server_ended_between_statements_is_an_outage(cut):
    proxy, database = cut

    async def work(tx: Tx) -> None:
        await add_workspace(tx, 1)
        proxy.say_fatal()
        # Turns of the event loop in which the message arrives; the connection itself stays open.
        for _ in range(20):
            await asyncio.sleep(0)
        await add_workspace(tx, 2)

    with pytest.raises(Unavailable, match="Nothing was stored"):
        await database.transact(work)
    await database.transact(add_workspace, 3)

    async def ids(tx: Tx) -> list[int]:
        return [row[0] for row in await tx.rows("workspaces.list")]

    assert await database.read(ids) == [3]


async def node(tx: Tx, id_: int) -> None:
    await tx.run("nodes.add", id=id_, token="t", host="h", sends=1)


async def test_only_what_nobody_knows_of_is_released(store: Store, monkeypatch: pytest.MonkeyPatch):
    database: Database = store.open()
    monkeypatch.setattr(holdings, "STEP", 3)
    for id_ in (1, 2):
        await database.transact(node, id_)
    # Held here and known; held here and forgotten; held by another node; held by a node that does not exist; free.
    held: list[tuple[int, int, int | None]] = [(n, n, 1) for n in range(1, 6)]
    held += [(n, n, 1) for n in range(6, 11)] + [(11, 11, 2), (12, 12, 99), (13, 13, None)]
    await database.transact(owe, *held)
    known, clock = Holdings(), Clock()
    known.take((7, n) for n in range(1, 6))
    look_back = LookBack(database, Ids(1), known, clock)
    for _ in range(10):
        assert await look_back.release_forgotten() == 0
    # One of them is claimed by this process after all.
    known.take([(7, 6)])
    clock.now += holdings.FORGOTTEN_S
    assert [await look_back.release_forgotten() for _ in range(10)] == [5, *[0] * 9]
    left = await database.read(holders)
    assert sorted(row[1] for row in left) == [1, 2, 3, 4, 5, 6]
    known.drop((7, n) for n in range(1, 7))
    assert len(known) == 0
