"""The other side: clients that post events over keep-alive connections and receivers that tick off what arrives.

Both live on one event loop, so one clock times an event from its post over its answer to its delivery. They speak
only as much HTTP as the programs measured here need; a sound client costs more than the thing measured.
"""

import asyncio
import base64
import math
import secrets
import socket
import time
from array import array
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, cast

USERS = 1000
NEVER = math.nan
DIGITS = 9  # of the number that ends every message id
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
# A refusal (429, 503) asks to come again; the same event is posted again after this many seconds.
PAUSE = 0.02


@dataclass(kw_only=True, slots=True)
class Marks:
    """When each event of a run was posted and answered, and when each receiver first saw it; seconds, NaN for never."""

    total: int
    receivers: int = 1
    prefix: bytes = field(default_factory=lambda: b"bench-%s-" % secrets.token_hex(6).encode())
    posted: "array[float]" = field(init=False)
    answered: "array[float]" = field(init=False)
    delivered: "list[array[float]]" = field(init=False)
    accepted: int = 0
    refused: int = 0  # answers that asked to come again
    repeated: int = 0  # deliveries of an event already seen
    arrived: list[int] = field(init=False)  # distinct events per receiver
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.posted = array("d", [NEVER]) * self.total
        self.answered = array("d", [NEVER]) * self.total
        self.delivered = [array("d", [NEVER]) * self.total for _ in range(self.receivers)]
        self.arrived = [0] * self.receivers

    def started(self) -> float:
        """When the first event was posted."""
        return min(moment for moment in self.posted if moment == moment)

    def ended(self) -> float:
        """When the last event arrived anywhere."""
        return max(moment for moments in self.delivered for moment in moments if moment == moment)


def spent(since: Sequence[float], until: Iterable[Sequence[float]]) -> list[float]:
    """Seconds from each event's first moment to its moment in every other list, ascending, at least 0.

    A delivery may overtake the answer to the post that caused it; it then counts as 0.
    """
    return sorted(max(0.0, end - start) for ends in until for start, end in zip(since, ends, strict=True) if end == end)


def quantile(ascending: Sequence[float], share: float) -> float:
    """The value below which this share of an ascending list lies (nearest rank), NaN for an empty one."""
    if not ascending:
        return NEVER
    return ascending[min(len(ascending) - 1, max(0, math.ceil(share * len(ascending)) - 1))]


class Requests(Protocol):
    """What is posted: the requests of a run by the numbers of their events."""

    def write(self, first: int, count: int) -> bytes:
        """Return the request that posts `count` events from this number on."""
        ...


class Letters:
    """Ready-made requests: only the message id and the user differ from one to the next."""

    def __init__(self, marks: Marks, host: str, write_key: str, *, batch: int) -> None:
        self.batch = batch
        blank = self._event(marks.prefix, 0)
        size = len(blank) if batch == 1 else len(blank) * batch + (batch - 1) + len(b'{"batch":[]}')
        token = base64.b64encode(f"{write_key}:".encode())
        path = b"/v1/track" if batch == 1 else b"/v1/batch"
        self._prefix = marks.prefix
        self._size = size
        self._path, self._host, self._token = path, host.encode(), token
        self._head = self._request_head(size)

    def _request_head(self, size: int) -> bytes:
        return (
            b"POST %b HTTP/1.1\r\nHost: %b\r\nAuthorization: Basic %b\r\n"
            b"Content-Type: application/json\r\nUser-Agent: bench\r\nContent-Length: %d\r\n\r\n"
        ) % (self._path, self._host, self._token, size)

    @staticmethod
    def _event(prefix: bytes, number: int) -> bytes:
        return (
            b'{"type":"track","messageId":"%b%09d","userId":"user-%04d","event":"Order Shipped",'
            b'"timestamp":"2026-11-21T12:00:00.000Z","properties":{"order_id":"50314b8e-9bcf","total":27.5,'
            b'"currency":"EUR","carrier":"DHL","products":[{"sku":"G-32","name":"Monopoly","quantity":1}]},'
            b'"context":{"library":{"name":"analytics-python","version":"2.3.3"},"ip":"192.0.2.7"}}'
        ) % (prefix, number, number % USERS)

    def write(self, first: int, count: int) -> bytes:
        """The request that posts `count` events from this number on."""
        if self.batch == 1:
            return self._head + self._event(self._prefix, first)
        body = b'{"batch":[%b]}' % b",".join(self._event(self._prefix, n) for n in range(first, first + count))
        head = self._head if len(body) == self._size else self._request_head(len(body))
        return head + body


class Client(asyncio.Protocol):
    """One connection with at most one request under way."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._data = b""
        self._first = self._count = 0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one in all but name

    def post(self, first: int, count: int) -> None:
        """Send these events in one request."""
        self._first, self._count = first, count
        assert self._transport is not None
        self._transport.write(self._pool.letters.write(first, count))

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if self._data:
            data = self._data + data
        status = complete(data)
        if status == 0:
            self._data = data
            return
        self._data = b""
        count, self._count = self._count, 0
        self._pool.answered(self, status, data, self._first, count, now)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lost(self, self._count, exc)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


def complete(data: bytes) -> int:
    """The status of the answer when all of it is here, 0 while some is missing."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = data[:end].lower()
    mark = head.find(b"\r\ncontent-length:")
    if mark >= 0:
        line = head.find(b"\r\n", mark + 2)
        if len(data) < end + 4 + int(head[mark + 17 : line if line > 0 else end]):
            return 0
    elif b"transfer-encoding" in head and not data.endswith(b"0\r\n\r\n"):
        return 0
    return int(data[9:12])


class Pool:
    """The connections of a run and the events that are still to be posted."""

    def __init__(self, marks: Marks, letters: Requests) -> None:
        self.letters = letters
        self.finished = asyncio.Event()
        self._marks = marks
        # Used in turn, so that none stands idle until the program hangs up on it.
        self._free: deque[Client] = deque()
        self._clients: set[Client] = set()
        self._port = 0
        self._reopening: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[int, int]] = deque()
        self._closed = False

    async def connect(self, port: int, connections: int) -> None:
        """Open the connections."""
        self._port = port
        for _ in range(connections):
            await self._open()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: Client(self), "127.0.0.1", self._port)
        self._clients.add(client)
        self._next(client)

    def offer(self, first: int, count: int) -> None:
        """Post these events as soon as a connection is free."""
        self._waiting.append((first, count))
        if self._free:
            self._next(self._free.popleft())

    def _next(self, client: Client) -> None:
        if not self._waiting:
            self._free.append(client)
            return
        first, count = self._waiting.popleft()
        posted = self._marks.posted
        if posted[first] != posted[first]:  # NaN: at a fixed rate the moment in the schedule already stands here
            posted[first : first + count] = array("d", [time.perf_counter()]) * count
        client.post(first, count)

    def answered(self, client: Client, status: int, data: bytes, first: int, count: int, now: float) -> None:
        """Tick off an answered request and give the connection its next one."""
        marks = self._marks
        if status == 200:
            if count == 1:
                marks.answered[first] = now
            else:
                marks.answered[first : first + count] = array("d", [now]) * count
            marks.accepted += count
        elif status in (429, 503):
            marks.refused += count
            asyncio.get_running_loop().call_later(PAUSE, self.offer, first, count)
        else:
            marks.failures.append(f"{status}: {data[-300:]!r}")
        self._check()
        self._next(client)

    def lost(self, client: Client, count: int, error: Exception | None) -> None:
        """A connection has ended: an idle one is opened again, the request of a busy one has failed."""
        self._clients.discard(client)
        if self._closed:
            return
        if count:
            self._marks.failures.append(f"connection lost with {count} events under way: {error!r}")
            self.finished.set()
            return
        if client in self._free:
            self._free.remove(client)
        task = asyncio.get_running_loop().create_task(self._open())
        self._reopening.add(task)
        task.add_done_callback(self._reopened)

    def _reopened(self, task: "asyncio.Task[None]") -> None:
        self._reopening.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._marks.failures.append(f"connection refused: {task.exception()!r}")
            self.finished.set()

    def _check(self) -> None:
        if self._marks.accepted == self._marks.total or self._marks.failures:
            self.finished.set()

    def close(self) -> None:
        """Hang up on every connection."""
        self._closed = True
        for task in self._reopening:
            task.cancel()
        for client in list(self._clients):
            client.close()


class Receiver(asyncio.Protocol):
    """A receiver's side of one connection: answers 200 at once and notes which event came."""

    def __init__(self, sinks: "Receivers", index: int) -> None:
        self._sinks = sinks
        self._index = index
        self._data = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one in all but name
        self._sinks.transports.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._sinks.transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        if self._index in self._sinks.hanging:
            return
        if self._data:
            data = self._data + data
        if complete(b"HTTP/1.1 200" + data) == 0:  # the same rule of length holds for requests
            self._data = data
            return
        self._data = b""
        if self._transport is not None:
            self._transport.write(OK)
        self._sinks.arrived(self._index, data)


class Receivers:
    """Listening ports, each playing one subscriber; the marks of the current run are filled as events arrive."""

    def __init__(self, hanging: frozenset[int]) -> None:
        self.hanging = hanging
        self.ports: list[int] = []
        self.transports: set[asyncio.WriteTransport] = set()
        self.stray = 0  # requests that carry no event of the current run
        self.marks: Marks | None = None
        self.progress = asyncio.Event()

    def arrived(self, index: int, data: bytes) -> None:
        """Note the event in this request."""
        now = time.perf_counter()
        marks = self.marks
        at = data.find(marks.prefix) if marks is not None else -1
        if marks is None or at < 0:
            self.stray += 1
            return
        at += len(marks.prefix)
        number = int(data[at : at + DIGITS])
        moments = marks.delivered[index]
        if moments[number] == moments[number]:
            marks.repeated += 1
            return
        moments[number] = now
        marks.arrived[index] += 1
        if marks.arrived[index] == marks.total:
            self.progress.set()


@asynccontextmanager
async def receivers(count: int = 1, *, hanging: Iterable[int] = ()) -> AsyncIterator[Receivers]:
    """Open this many receivers on free ports; the ones numbered in `hanging` take requests and never answer."""
    loop = asyncio.get_running_loop()
    opened = Receivers(frozenset(hanging))
    servers = []
    for index in range(count):
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        opened.ports.append(listener.getsockname()[1])
        servers.append(await loop.create_server(lambda index=index: Receiver(opened, index), sock=listener))  # type: ignore[misc]
    try:
        yield opened
    finally:
        for server in servers:
            server.close()
        for transport in list(opened.transports):
            transport.abort()


async def run(
    to: Receivers,
    *,
    port: int,
    write_key: str = "",
    requests: Requests | None = None,
    total: int,
    connections: int = 64,
    batch: int = 1,
    rate: float | None = None,
    patience: float = 60.0,
) -> Marks:
    """Post `total` events and wait until every receiver that answers has them all; give back when each came by.

    Without a rate every connection posts as soon as its last request is answered. With one, events are posted on a
    schedule however slow the answers are, and count as posted at their moment in the schedule. `requests` are other
    requests than those that post events. Raises `TimeoutError`
    when `patience` seconds pass without anything new arriving, `RuntimeError` when a request was refused for good.
    """
    marks = Marks(total=total, receivers=len(to.ports))
    to.marks = marks
    pool = Pool(marks, requests or Letters(marks, f"127.0.0.1:{port}", write_key, batch=batch))
    await pool.connect(port, connections)
    try:
        groups = [(first, min(batch, total - first)) for first in range(0, total, batch)]
        if rate is None:
            for first, count in groups:
                pool.offer(first, count)
        else:
            await keep_time(pool, marks, groups, rate)
        await settle(to, marks, pool, patience)
    finally:
        pool.close()
    return marks


async def keep_time(pool: Pool, marks: Marks, groups: Sequence[tuple[int, int]], rate: float) -> None:
    """Offer the groups at this many events per second."""
    start = time.perf_counter() + 0.01
    for first, count in groups:
        moment = start + first / rate
        # The loop's timers are a millisecond coarse: sleep up to two before the moment, then turn until it has come.
        early = moment - time.perf_counter() - 0.002
        if early > 0:
            await asyncio.sleep(early)
        while time.perf_counter() < moment:  # noqa: ASYNC110 - turning on purpose, for less than two milliseconds
            await asyncio.sleep(0)
        marks.posted[first : first + count] = array("d", [moment]) * count
        pool.offer(first, count)
        if marks.failures:
            break


async def settle(to: Receivers, marks: Marks, pool: Pool, patience: float) -> None:
    """Wait until every event is accepted and has reached every receiver that answers."""
    awaited = [index for index in range(len(to.ports)) if index not in to.hanging]
    last, since = -1, time.perf_counter()
    while True:
        if marks.failures:
            raise RuntimeError(f"{len(marks.failures)} requests failed, the first: {marks.failures[0]}")
        if marks.accepted == marks.total and all(marks.arrived[index] == marks.total for index in awaited):
            return
        seen = marks.accepted + sum(marks.arrived)
        if seen != last:
            last, since = seen, time.perf_counter()
        elif time.perf_counter() - since > patience:
            raise TimeoutError(f"stuck at {marks.accepted} of {marks.total} accepted, {marks.arrived} delivered")
        to.progress.clear()
        waiting = pool.finished if not pool.finished.is_set() else to.progress
        try:
            async with asyncio.timeout(0.2):
                await waiting.wait()
        except TimeoutError:
            continue
