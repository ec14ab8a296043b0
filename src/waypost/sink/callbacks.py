"""Sends the callbacks of simulated providers, with keep-alive connections per target and retries."""

import asyncio
import functools
import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec

from waypost.errors import Invalid

#: The default number of connections per target.
CONNECTIONS = 32
#: The most bytes of waiting bodies; callbacks beyond it are dropped and counted.
LARGEST_BACKLOG = 512 * 1024 * 1024
#: The most bytes of a response body (Firehose reads 1 MiB); a longer one fails and the connection is closed.
LARGEST_ANSWER = 1024 * 1024 + 1
CONNECT_S = 10.0
#: The most that back-off grows, as a multiple of its start: 1 s becomes at most 2 minutes, as with Firehose.
LONGEST_BACKOFF = 120
JITTER = 0.15

#: The headers of a response by lower-case name.
Headers = Mapping[str, str]


def accept_success(status: int, body: bytes, headers: Headers) -> bool | None:
    """Return whether the status is 2xx, as most providers check; they retry after any other."""
    return 200 <= status < 300


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one attempt to send a callback."""

    #: The number of the attempt, from 1.
    number: int
    #: None without a response; then `error` has the reason.
    status: int | None
    body: bytes
    headers: Headers
    error: str
    #: True: accepted. False: retried, or attempts exhausted. None: given up.
    accepted: bool | None


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """One callback to be sent."""

    #: The name for the counts.
    sender: str
    url: str
    #: Host and Content-Length are added.
    headers: list[tuple[str, str]] = []
    body: bytes = b""
    #: Seconds before the first attempt.
    delay: float = 0.0
    #: Maximum number of attempts.
    attempts: int = 1
    #: Seconds before the second attempt; doubled for each further one, up to `longest_backoff` times, ±15 %.
    retry_base: float = 1.0
    longest_backoff: int = LONGEST_BACKOFF
    #: Called with the headers of a response after which the callback is retried; returns the least seconds to wait.
    at_least: Callable[[Headers], float] | None = None
    #: Seconds to wait for a response.
    timeout: float = 15.0
    #: Called with status, body and headers of a response. Returns True: accepted; False: retry; None: give up.
    accept: Callable[[int, bytes, Headers], bool | None] = accept_success
    #: Called after each attempt.
    on_attempt: Callable[[Attempt], None] | None = None


class Counts(msgspec.Struct, kw_only=True):
    """The callback counts of one sender."""

    #: Waiting for their delay, a connection, a response or the next attempt.
    pending: int = 0
    sent: int = 0
    failed: int = 0
    #: Never attempted, because the backlog was full or the URL is not valid.
    dropped: int = 0
    #: All attempts, failed ones included.
    attempts: int = 0


class CallbackSender:
    """Sends callbacks in the background of the event loop."""

    def __init__(self, connections: int = CONNECTIONS) -> None:
        self._connections = connections
        self._targets: dict[tuple[str, str, int], _Target] = {}
        self._counts: dict[str, Counts] = {}
        self._backlog = 0
        self._dice = random.Random()  # noqa: S311 jitter needs no secrecy
        self.closed = False

    def send(self, callback: Callback) -> None:
        """Schedule a callback, and return immediately."""
        counts = self.counts(callback.sender)
        try:
            target, start = _read_url(callback.url)
        except Invalid as error:
            counts.dropped += 1
            if callback.on_attempt is not None:
                callback.on_attempt(
                    Attempt(number=0, status=None, body=b"", headers={}, error=error.detail, accepted=None)
                )
            return
        if self._backlog + len(callback.body) > LARGEST_BACKLOG:
            counts.dropped += 1
            if callback.on_attempt is not None:
                callback.on_attempt(
                    Attempt(number=0, status=None, body=b"", headers={}, error="the backlog is full", accepted=None)
                )
            return
        counts.pending += 1
        self._backlog += len(callback.body)
        lines = [
            *(f"{name}: {value}" for name, value in callback.headers),
            f"content-length: {len(callback.body)}",
            "",
            "",
        ]
        job = _Job(callback, target, start + "\r\n".join(lines).encode() + callback.body, counts)
        if callback.delay:
            asyncio.get_running_loop().call_later(callback.delay, self._queue, job)
        else:
            self._queue(job)

    def counts(self, sender: str) -> Counts:
        """Return the live counts of a sender."""
        found = self._counts.get(sender)
        if found is None:
            found = self._counts[sender] = Counts()
        return found

    def all_counts(self) -> dict[str, Counts]:
        """Return the counts of all senders."""
        return self._counts

    def close(self) -> None:
        """Close all connections and drop waiting callbacks."""
        self.closed = True
        for target in self._targets.values():
            target.close()

    def _queue(self, job: "_Job") -> None:
        if self.closed:
            return
        target = self._targets.get(job.target)
        if target is None:
            target = self._targets[job.target] = _Target(*job.target, self)
        target.queue.append(job)
        target.pump()

    def settle(self, job: "_Job", status: int | None, body: bytes, headers: Headers, error: str) -> None:
        """Record the result of an attempt, and schedule the next one if there is one."""
        callback, counts = job.callback, job.counts
        job.number += 1
        job.restarted = False
        counts.attempts += 1
        accepted = False if status is None else callback.accept(status, body, headers)
        last = accepted is not False or job.number >= callback.attempts
        if not last:
            wait = backoff(job.number, callback.retry_base, self._dice.random(), callback.longest_backoff)
            if callback.at_least is not None and status is not None:
                wait = max(wait, callback.at_least(headers))
            asyncio.get_running_loop().call_later(wait, self._queue, job)
        else:
            counts.pending -= 1
            self._backlog -= len(callback.body)
            if accepted:
                counts.sent += 1
            else:
                counts.failed += 1
        if callback.on_attempt is not None:
            callback.on_attempt(
                Attempt(number=job.number, status=status, body=body, headers=headers, error=error, accepted=accepted)
            )

    @property
    def connections(self) -> int:
        """Return the most connections to one target."""
        return self._connections


def backoff(attempts: int, base: float, dice: float, longest: int = LONGEST_BACKOFF) -> float:
    """Return the seconds to wait after this many attempts; `dice` from 0 to 1 adds ±15 % of jitter."""
    return base * float(min(2 ** min(attempts - 1, 30), longest)) * (1 - JITTER + 2 * JITTER * dice)


class _Job:
    """A callback that is being sent."""

    __slots__ = ("callback", "counts", "number", "restarted", "target", "wire")

    def __init__(self, callback: Callback, target: tuple[str, str, int], wire: bytes, counts: Counts) -> None:
        self.callback = callback
        self.target = target
        self.wire = wire
        self.counts = counts
        self.number = 0
        #: Whether this attempt was already restarted once, because an idle connection turned out to be closed.
        self.restarted = False


class _Target:
    """The connections to one scheme, host and port, and the callbacks that wait for one of them."""

    def __init__(self, scheme: str, host: str, port: int, callbacks: CallbackSender) -> None:
        self.callbacks = callbacks
        self.queue: deque[_Job] = deque()
        self.idle: list[_CallbackConnection] = []
        self.open: set[_CallbackConnection] = set()
        self._address = (host, port, scheme == "https")
        self._opening: set[asyncio.Task[None]] = set()

    def pump(self) -> None:
        """Give waiting callbacks to idle connections, and open more while there are too few."""
        queue, idle = self.queue, self.idle
        while queue and idle:
            idle.pop().start(queue.popleft())
        while len(self._opening) < len(queue) and len(self.open) + len(self._opening) < self.callbacks.connections:
            task = asyncio.get_running_loop().create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opened)

    def close(self) -> None:
        """Drop waiting callbacks and close all connections."""
        self.queue.clear()
        for task in self._opening:
            task.cancel()
        for connection in list(self.open):
            connection.abort()

    async def _open(self) -> None:
        host, port, secure = self._address
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            _, connection = await loop.create_connection(
                lambda: _CallbackConnection(self), host, port, ssl=secure or None
            )
        self.idle.append(connection)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if task.cancelled() or self.callbacks.closed:
            return
        error = task.exception()
        if error is not None and self.queue:
            # Each failure to connect fails one callback, so that all of them end when the target is down.
            self.callbacks.settle(self.queue.popleft(), None, b"", {}, f"no connection: {str(error) or type(error)}")
        self.pump()


class _CallbackConnection(asyncio.Protocol):
    """One connection to a target; it sends one callback at a time and waits for its response."""

    def __init__(self, target: _Target) -> None:
        self._target = target
        self._job: _Job | None = None
        self._used = False
        self._timer: asyncio.TimerHandle | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._reset()

    def start(self, job: _Job) -> None:
        """Send a callback."""
        self._job = job
        self._timer = asyncio.get_running_loop().call_later(job.callback.timeout, self._expire)
        self._transport.write(job.wire)

    def abort(self) -> None:
        """Close the connection immediately."""
        self._job = None
        self._transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._target.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        target, job = self._target, self._job
        target.open.discard(self)
        if self in target.idle:
            target.idle.remove(self)
        if target.callbacks.closed:
            return
        if job is not None:
            if self._in_body and not {"content-length", "transfer-encoding"} & self._headers.keys():
                # Such a body ends with the connection (RFC 9112, section 6.3).
                self._end("")
            elif self._used and not self._response_started and not job.restarted:
                # The target closed the idle connection before it read this callback: use another connection.
                self._clear_job()
                job.restarted = True
                target.queue.appendleft(job)
            else:
                self._end("the connection was closed before the response was complete")
        target.pump()

    def data_received(self, data: bytes) -> None:
        self._response_started = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"the response is not HTTP: {error}")
            self._transport.abort()

    # Called by the parser.

    def on_message_begin(self) -> None:
        self._headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._in_body = self._parser.get_status_code() >= 200

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= LARGEST_ANSWER:
            self._body.append(data)
        else:
            self._end("the response is too large")
            self._transport.abort()

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200 or self._job is None:
            return
        keep = self._parser.should_keep_alive()
        self._end("")
        if keep:
            self._used = True
            self._target.idle.append(self)
            self._target.pump()
        else:
            self._transport.close()

    # The end of an attempt.

    def _expire(self) -> None:
        self._end("no response within the timeout")
        self._transport.abort()

    def _end(self, error: str) -> None:
        job = self._job
        if job is None:
            return
        status = None if error else self._parser.get_status_code()
        body, headers = b"".join(self._body), self._headers
        self._clear_job()
        self._target.callbacks.settle(job, status, body, headers, error)

    def _clear_job(self) -> None:
        self._job = None
        if self._timer is not None:
            self._timer.cancel()
        self._reset()

    def _reset(self) -> None:
        self._headers = {}
        self._body: list[bytes] = []
        self._size = 0
        self._in_body = False
        self._response_started = False


@functools.lru_cache(4096)
def _read_url(url: str) -> tuple[tuple[str, str, int], bytes]:
    """Return scheme, host and port of a URL, and the start of a POST to it: the request line and the Host header."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise Invalid(f"The URL is not valid: {error}.", code="invalid_url") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii() or not url.isprintable():
        raise Invalid("The URL of a callback must be http or https, in printable ASCII.", code="invalid_url")
    if " " in url:
        raise Invalid("A URL cannot contain spaces.", code="invalid_url")
    where = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    return (parts.scheme, parts.hostname, port), f"POST {where} HTTP/1.1\r\nhost: {host}\r\n".encode()
