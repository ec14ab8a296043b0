"""An engine with its own database, and the sink as its receivers and providers."""

import asyncio
import contextlib
import functools
import http.client
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from tests.waiting import eventually as eventually
from waypost.clock import now_us
from waypost.domain.events.segment import Entry, read_entry, read_message
from waypost.domain.webhooks.endpoint import Secret
from waypost.domain.webhooks.ledger import Balance, disagreements
from waypost.domain.webhooks.signing import encode_secret
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import Request, Response
from waypost.engine.process import Engine
from waypost.settings import load_settings
from waypost.sink.thread_runner import Running, running
from waypost.storage.database import Tx
from waypost.storage.sqlite import SQLite

#: All endpoints of these tests sign with it.
SECRET = encode_secret(bytes(range(32)))
LOOPBACK = "127.0.0.0/8"


class Outside:
    """The sink, as the tests control it."""

    def __init__(self, sink: Running) -> None:
        self.port = sink.port
        self.smtp_port = sink.smtp_port

    def hook(self, name: str, **options: Any) -> str:
        """Return the URL of a receiver with this behaviour."""
        query = urlencode({key: int(value) if value is True else value for key, value in options.items()})
        return f"http://127.0.0.1:{self.port}/hook/{name}" + (f"?{query}" if query else "")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request to the sink's own routes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            told = json.loads(answer.read())
        finally:
            connection.close()
        assert answer.status == 200, told
        return told

    def behave(self, name: str, **options: Any) -> None:
        """Set the behaviour of a name."""
        self.ask("PUT", f"/behaviour/{name}", options)

    def script(self, name: str, *steps: dict[str, Any]) -> None:
        """Set the behaviours of the next requests for a name."""
        self.ask("POST", f"/script/{name}", list(steps))

    def count(self, name: str) -> int:
        """Return the number of received requests."""
        return int(self.ask("GET", f"/received/count?name={name}")["count"])

    def distinct(self, name: str) -> int:
        """Return the number of distinct webhook-ids."""
        return int(self.ask("GET", f"/received/count?name={name}")["distinct"])

    def received(self, name: str) -> list[dict[str, Any]]:
        """Return all received requests, oldest first."""
        found: list[dict[str, Any]] = []
        after: str | None = "0"
        while after is not None:
            page = self.ask("GET", f"/received?name={name}&limit=1000&after={after}")
            found += page["data"]
            after = page["next"]
        return found


class World:
    """A running engine, as the tests control it."""

    def __init__(self, engine: Engine, database: SQLite) -> None:
        self.engine = engine
        self.database = database

    async def endpoint(self, url: str, *, workspace: int = 1, types: tuple[str, ...] = ("*",), **changes: Any) -> int:
        """Create an endpoint; return its id."""
        engine = self.engine
        values: dict[str, Any] = {
            "id": engine.ids.one(now_us()),
            "workspace_id": workspace,
            "url": url,
            "description": "",
            "event_types": json.dumps(types),
            "filter": None,
            "headers": engine.encryption.encrypt("{}"),
            "rate_limit": None,
            "concurrency": 64,
            "timeout_ms": 2000,
            "format": "standard",
            "signature": "v1",
            "owner_email": None,
            "ordered": 0,
            "connection_id": None,
            "user_id": None,
            "user_name": None,
            "secrets": engine.encryption.encrypt(msgspec.json.encode((Secret(SECRET),)).decode()),
            "now": now_us(),
        } | changes
        await self.change("endpoints.add", workspace=workspace, **values)
        await engine.endpoints.refresh([workspace])
        return int(values["id"])

    async def change(self, query: str, *, workspace: int = 1, **values: Any) -> int:
        """Change an endpoint by a named query, as the API does."""
        return await self.database.transact(_change, query, workspace, values)

    async def ask(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Return the rows of a named query."""
        return await self.database.read(_ask, query, values)

    def entries(self, count: int, *, workspace: int = 1, event: str = "Thing Done", name: str = "m") -> list[Entry]:
        """Return this many events, each with its own message id."""
        now = now_us()
        return [
            read_entry(
                read_message(
                    json.dumps(
                        {
                            "type": "track",
                            "messageId": f"{name}-{now}-{number}",
                            "userId": f"user-{number % 50}",
                            "event": event,
                            "properties": {"number": number},
                        }
                    ).encode()
                ),
                None,
                workspace,
                now,
                "none",
            )
            for number in range(count)
        ]

    async def post(self, count: int, **kind: Any) -> None:
        """Record this many events."""
        await self.engine.journal.append(self.entries(count, **kind))

    async def record(self, endpoint_id: int) -> dict[str, Any]:
        """Return the row of an endpoint."""
        return (await self.ask("endpoints.by_ids", ids=[endpoint_id]))[0]

    async def balance(self, endpoint_id: int) -> Balance:
        """Return the ledger of an endpoint."""
        counted = await self.database.read(_counted)
        return counted.get(endpoint_id, Balance())

    async def settled(self, endpoint_id: int) -> Balance | None:
        """Return the ledger of an endpoint once nothing is pending."""
        balance = await self.balance(endpoint_id)
        return balance if balance.accepted and not balance.pending else None

    async def check_ledger(self) -> None:
        """Fail if the ledger does not balance or contradicts the rows."""
        counted, rows = await self.database.read(_counted_and_rows)
        assert disagreements(counted, rows, {}) == []

    async def deliveries(self, endpoint_id: int) -> list[dict[str, Any]]:
        """Return the deliveries of an endpoint, newest first."""
        return await self.ask("deliveries.list", endpoint_id=endpoint_id, before=1 << 62, n=100_000)


async def _change(tx: Tx, query: str, workspace: int, values: dict[str, Any]) -> int:
    changed = await tx.run(query, **values)
    await tx.run("configurations.touch", area="webhooks", workspace_id=workspace)
    return changed


async def _counted(tx: Tx) -> dict[int, Balance]:
    return {
        endpoint: Balance(*(int(number) for number in numbers))
        for _, endpoint, *numbers in await tx.rows("counts.by_endpoint")
    }


async def _counted_and_rows(tx: Tx) -> tuple[dict[int, Balance], list[tuple[int, str, int]]]:
    rows = [(endpoint, state, count) for endpoint, state, count in await tx.rows("deliveries.counts")]
    return await _counted(tx), rows


async def _ask(tx: Tx, query: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    return await tx.records(query, **values)


async def open_world(data: Path, **settings: Any) -> World:
    """Start an engine on the SQLite file in a folder."""
    given = {"data": str(data), "allow_private": LOOPBACK, "retry_base": 0.002} | settings
    chosen = load_settings({}, **given)
    database = SQLite(data / "waypost.db")
    await database.migrate()
    engine = Engine(database, chosen)
    await engine.start()
    world = World(engine, database)
    for workspace in (1, 2):
        if not any(row["id"] == workspace for row in await world.ask("workspaces.list")):
            await world.change("workspaces.add", workspace=workspace, id=workspace, name="test", now=now_us())
    return world


async def close_world(world: World) -> None:
    """Stop an engine normally."""
    await world.engine.stop()
    await world.database.close()


async def abandon_world(world: World) -> None:
    """Abandon an engine as `kill -9` would: nothing is finished, settled or released."""
    engine = world.engine
    for task in [*engine.scheduler._tasks, engine._recording]:
        if task is not None:
            task.cancel()
    await engine.outbound.stop()
    await world.database.close()


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    """The sink; each test uses its own names."""
    with running(smtp=True) as sink:
        yield Outside(sink)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A running engine that may reach the sink."""
    opened = await open_world(tmp_path)
    yield opened
    await close_world(opened)


async def send_all(outbound: Outbound, requests: list[Request], at_once: int = 1000) -> list[Response]:
    """Send requests, several at a time, on the thread itself as the dispatcher does; return the responses."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    answers: list[Response | None] = [None] * len(requests)
    waiting = iter(range(len(requests)))
    left = len(requests)

    def start() -> None:
        for number in waiting:
            outbound.send(requests[number], functools.partial(finish, number))
            break

    def finish(number: int, response: Response) -> None:
        nonlocal left
        answers[number] = response
        left -= 1
        start()
        if not left:
            loop.call_soon_threadsafe(future.set_result, None)

    def begin() -> None:
        for _ in range(min(at_once, len(requests))):
            start()

    outbound.run(begin)
    await asyncio.wait_for(future, 60)
    return [answer for answer in answers if answer is not None]


@contextlib.asynccontextmanager
async def listening(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> AsyncIterator[int]:
    """Run a server for one test on a free port."""
    writers: set[asyncio.StreamWriter] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()
        writers.discard(writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in list(writers):
            writer.transport.abort()
        await server.wait_closed()
