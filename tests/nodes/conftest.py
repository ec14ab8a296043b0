"""Two nodes on one PostgreSQL, in one process, with the sink as receivers and providers."""

import asyncio
import base64
import contextlib
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import Outside, World
from tests.engine.messaging.test_sending import Post
from tests.storage.conftest import postgres as postgres
from tests.storage.conftest import postgres_url as postgres_url
from waypost.clock import MINUTE, Ids, now_us
from waypost.domain.events.event import Event
from waypost.engine.process import Engine
from waypost.engine.runtime.scheduler import Scheduler
from waypost.engine.runtime.unit import Unit
from waypost.settings import load_settings
from waypost.sink.thread_runner import running
from waypost.storage.database import Tx
from waypost.storage.postgres import Postgres

KEY = base64.b64encode(b"k" * 32).decode()


class Node(World):
    """One of the nodes, as the tests control it."""

    database: Any

    async def run(self, name: str) -> float:
        """Run one of its jobs once."""
        jobs = {job.name: job.run for job in self.engine._jobs()}
        return await jobs[name]()

    async def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of an unnamed statement."""

        async def work(tx: Tx) -> list[tuple[Any, ...]]:
            connection = tx._connection  # type: ignore[attr-defined]
            return [tuple(row) for row in await connection.fetch(statement, *values)]

        found: list[tuple[Any, ...]] = await self.database.transact(work)
        return found

    async def emit(self, count: int, *, at: int | None = None) -> list[int]:
        """Record this many events at a time, with their deliveries held by this node, which does not know of them."""

        async def work(tx: Tx) -> list[int]:
            # Ids of a past time need a generator that has not generated later ones.
            unit = Unit(Ids(self.engine.ids.node) if at else self.engine.ids, at or now_us())
            events = some_events(count)
            unit.emit(events)
            await self.engine.recorder._react(tx, unit)
            return [event.id for event in events]

        found: list[int] = await self.database.transact(work)
        return found

    async def owed(self, count: int) -> list[int]:
        """Do the same with deliveries that no node holds."""
        found = await self.emit(count)
        await self.sql("UPDATE deliveries SET node = NULL WHERE event_id = ANY($1)", found)
        return found

    async def die(self) -> None:
        """Abandon the node as `kill -9` would: nothing is finished, settled or released."""
        engine = self.engine
        engine.sender._draining = engine.dispatcher._draining = True
        tasks = [*engine.scheduler._tasks, engine._recording, *engine.sender._claiming.values(), *engine.sender._calls]
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
        await engine.outbound.stop()
        await self.database.close()

    async def unseen(self, node: int, by: int = MINUTE) -> None:
        """Let the last heartbeat of this node be this long ago."""
        await self.sql("UPDATE nodes SET seen_at = seen_at - $1 WHERE id = $2", by, node)


@contextlib.asynccontextmanager
async def frozen(node: Node) -> AsyncIterator[None]:
    """Stop a node as on a paused machine: neither its database nor its outbound thread proceeds."""
    thaw, thawed = threading.Event(), asyncio.Event()
    acquire = node.database._acquire

    def stand_still() -> None:
        thaw.wait()

    async def wait(pool: Any) -> Any:
        await thawed.wait()
        return await acquire(pool)

    node.database._acquire = wait
    node.engine.outbound.run(stand_still)
    try:
        yield
    finally:
        thaw.set()
        thawed.set()
        node.database._acquire = acquire


def some_events(count: int) -> list[Event]:
    """Return events of the first workspace that are not recorded yet."""
    return [
        Event(
            workspace_id=1,
            message_id=f"made-{number}",
            type="event.thing_done",
            profile_id=0,
            occurred_at=now_us(),
            data=b'{"number":%d}' % number,
        )
        for number in range(count)
    ]


def steps(history: list[dict[str, Any]]) -> list[str]:
    """Return the statuses of a message in order, without repeats."""
    found = [line["status"] for line in history if not line.get("noted")]
    return [status for status, before in zip(found, [None, *found], strict=False) if status != before]


class Pair:
    """Two nodes on one database."""

    def __init__(self, one: Node, other: Node, outside: Outside) -> None:
        self.one, self.other = one, other
        self.nodes = (one, other)
        self.outside = outside
        self.post, self.other_post = Post(one, outside), Post(other, outside)

    async def both(self, name: str, times: int = 3) -> None:
        """Run a job on both nodes at once, repeatedly and never in step."""

        async def again(node: Node, yields: int) -> None:
            for turn in range(times):
                for _ in range(yields * turn):
                    await asyncio.sleep(0)
                await node.run(name)

        await asyncio.gather(again(self.one, 0), again(self.other, 3))

    async def endpoint(self, name: str, **changes: Any) -> int:
        """Create an endpoint at the sink, known to both."""
        id_ = await self.one.endpoint(self.outside.hook(name), types=("event.thing_done",), **changes)
        await self.other.engine.endpoints.refresh([1])
        return id_

    async def connect(self, connector: str = "aws-pinpoint", **changes: Any) -> int:
        """Create a connection to the sink, known to both."""
        id_ = await self.post.connect(connector, **changes)
        await self.other.engine.connections.refresh([1])
        return id_

    async def check(self) -> None:
        """Fail if the ledger or the counts of messages contradict the rows."""
        await self.one.check_ledger()
        told: Counter[str] = Counter()
        for (history,) in await self.one.sql("SELECT history FROM messages"):
            told.update(steps(json.loads(f"[{history}]")))
        counted = await self.one.sql("SELECT status, sum(n)::bigint FROM message_counts GROUP BY status")
        assert dict(counted) == told


async def open_node(url: str, data: Path, *, sends: bool = True, **settings: Any) -> Node:
    """Start an engine on a PostgreSQL that others use too."""
    given = {"allow_private": "127.0.0.0/8", "retry_base": 0.8} | settings
    database = Postgres(url)
    engine = Engine(database, load_settings({}, data=str(data), database_url=url, secret_key=KEY, **given), sends=sends)
    await engine.start()
    return Node(engine, database)  # type: ignore[arg-type]


async def open_pair(
    url: str,
    data: Path,
    outside: Outside,
    *,
    other: Callable[[Awaitable[Node]], Awaitable[Node]] | None = None,
    **settings: Any,
) -> Pair:
    """Two nodes; the first created the workspace. `other` opens the second one, if it differs."""
    one = await open_node(url, data, **settings)
    await one.change("workspaces.add", workspace=1, id=1, name="test", now=now_us())
    opening = open_node(url, data, **settings)
    return Pair(one, await (other(opening) if other else opening), outside)


async def close_pair(pair: Pair) -> None:
    """Stop both, except a dead one."""
    for node in pair.nodes:
        if not node.database._closed:
            await node.engine.stop()
            await node.database.close()


@pytest.fixture
def sunk() -> Iterator[Outside]:
    """A sink for one test: scenarios are set for all messages of a provider."""
    with running(smtp=True) as sink:
        yield Outside(sink)


@pytest.fixture
async def still(
    postgres_url: str, tmp_path: Path, sunk: Outside, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Pair]:
    """Two nodes whose jobs run only when the test runs them."""
    with monkeypatch.context() as patch:
        patch.setattr(Scheduler, "start", lambda self, jobs: None)
        url = f"smtp://127.0.0.1:{sunk.smtp_port}"
        pair = await open_pair(postgres_url, tmp_path, sunk, smtp_url=url, mail_from="Waypost <way@post.example>")
    yield pair
    await close_pair(pair)


@pytest.fixture
async def pair(postgres_url: str, tmp_path: Path, sunk: Outside) -> AsyncIterator[Pair]:
    """Two running nodes."""
    pair = await open_pair(postgres_url, tmp_path, sunk)
    yield pair
    await close_pair(pair)
