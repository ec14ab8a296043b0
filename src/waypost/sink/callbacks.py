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
#: An answer's body is kept up to here (Firehose reads 1 MiB); more ends the connection.
LARGEST_ANSWER = 1024 * 1024 + 1
CONNECT_S = 10.0
#: Back-off grows up to so many times its start: 1 s becomes at most 2 minutes, as with Firehose.
LONGEST_BACKOFF = 120
JITTER = 0.15

#: What an answer's headers are: by lower-case name.
Headers = Mapping[str, str]


def took(status: int, body: bytes, headers: Headers) -> bool | None:
    """Whether a 2xx was answered, which is what most providers look at; anything else is tried again."""
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
    #: Seconds before the second attempt; doubled for each further one, up to 120 times, ±15 %.
    retry_base: float = 1.0
    #: Seconds to wait for a response.
    timeout: float = 15.0
    #: Called with status, body and headers of a response. Returns True: accepted; False: retry; None: give up.
    accept: Callable[[int, bytes, Headers], bool | None] = took
    #: Called after each attempt.
    on_attempt: Callable[[Attempt], None] | None = None


class Counts(msgspec.Struct, kw_only=True):
    """The callback counts of one sender."""

    #: Waiting for their time, their turn, their answer or their next try.
    pending: int = 0
    sent: int = 0
    failed: int = 0
    #: Never tried, because too much waited already or the URL makes no sense.
    dropped: int = 0
    #: Tries, those included that failed.
    attempts: int = 0


class CallbackSender:
    """Sends callbacks in the background of the event loop."""

    def __init__(self, connections: int = CONNECTIONS) -> None:
        self._connections = connections
        self._targets: dict[tuple[str, str, int], _Target] = {}
        self._counts: dict[str, Counts] = {}
        self._backlog = 0
        self._dice = random.Random()  # noqa: S311 jitter is no secret
        self.closed = False

    def send(self, post: Callback) -> None:
        """Schedule a callback, and return immediately."""
        counts = self.counts(post.sender)
        try:
            target, start = _read_url(post.url)
        except Invalid as error:
            counts.dropped += 1
            if post.on_attempt is not None:
                post.on_attempt(Attempt(number=0, status=None, body=b"", headers={}, error=error.detail, accepted=None))
            return
        if self._backlog + len(post.body) > LARGEST_BACKLOG:
            counts.dropped += 1
            return
        counts.pending += 1
        self._backlog += len(post.body)
        lines = [*(f"{name}: {value}" for name, value in post.headers), f"content-length: {len(post.body)}", "", ""]
        job = _Job(post, target, start + "\r\n".join(lines).encode() + post.body, counts)
        if post.delay:
            asyncio.get_running_loop().call_later(post.delay, self._queue, job)
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
        post, counts = job.post, job.counts
        job.number += 1
        job.again = False
        counts.attempts += 1
        accepted = False if status is None else post.accept(status, body, headers)
        last = accepted is not False or job.number >= post.attempts
        if not last:
            wait = backoff(job.number, post.retry_base, self._dice.random())
            asyncio.get_running_loop().call_later(wait, self._queue, job)
        else:
            counts.pending -= 1
            self._backlog -= len(post.body)
            if accepted:
                counts.sent += 1
            else:
                counts.failed += 1
        if post.on_attempt is not None:
            post.on_attempt(
                Attempt(number=job.number, status=status, body=body, headers=headers, error=error, accepted=accepted)
            )

    @property
    def connections(self) -> int:
        """How many connections one target may have."""
        return self._connections


def backoff(tries: int, base: float, dice: float) -> float:
    """Seconds to wait after so many tries; `dice` from 0 to 1 spreads it by ±15 %."""
    return base * float(min(2 ** min(tries - 1, 30), LONGEST_BACKOFF)) * (1 - JITTER + 2 * JITTER * dice)


class _Job:
    """A callback that is being sent."""

    __slots__ = ("again", "counts", "number", "post", "target", "wire")

    def __init__(self, post: Callback, target: tuple[str, str, int], wire: bytes, counts: Counts) -> None:
        self.post = post
        self.target = target
        self.wire = wire
        self.counts = counts
        self.number = 0
        #: Whether this try was begun anew once already, because a kept connection turned out to be dead.
        self.again = False


class _Target:
    """One scheme, host and port, with the connections to it and what waits for one of them."""

    def __init__(self, scheme: str, host: str, port: int, callbacks: CallbackSender) -> None:
        self.callbacks = callbacks
        self.queue: deque[_Job] = deque()
        self.idle: list[_CallbackConnection] = []
        self.lines: set[_CallbackConnection] = set()
        self._where = (host, port, scheme == "https")
        self._opening: set[asyncio.Task[None]] = set()

    def pump(self) -> None:
        """Give waiting posts to free connections, and open more while there are not enough."""
        queue, idle = self.queue, self.idle
        while queue and idle:
            idle.pop().start(queue.popleft())
        while len(self._opening) < len(queue) and len(self.lines) + len(self._opening) < self.callbacks.connections:
            task = asyncio.get_running_loop().create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opened)

    def close(self) -> None:
        """End everything."""
        self.queue.clear()
        for task in self._opening:
            task.cancel()
        for line in list(self.lines):
            line.abort()

    async def _open(self) -> None:
        host, port, secure = self._where
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            _, line = await loop.create_connection(lambda: _CallbackConnection(self), host, port, ssl=secure or None)
        self.idle.append(line)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if task.cancelled() or self.callbacks.closed:
            return
        error = task.exception()
        if error is not None and self.queue:
            # One post pays for each connection that cannot be had, so that all of them come to an end.
            self.callbacks.settle(self.queue.popleft(), None, b"", {}, f"no connection: {str(error) or type(error)}")
        self.pump()


class _CallbackConnection(asyncio.Protocol):
    """One connection to a target: a post out, its answer in, and the next."""

    def __init__(self, target: _Target) -> None:
        self._target = target
        self._job: _Job | None = None
        self._used = False
        self._timer: asyncio.TimerHandle | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._reset()

    def start(self, job: _Job) -> None:
        """Send a post."""
        self._job = job
        self._timer = asyncio.get_running_loop().call_later(job.post.timeout, self._expire)
        self._transport.write(job.wire)

    def abort(self) -> None:
        """End the connection now."""
        self._job = None
        self._transport.abort()

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._target.lines.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        target, job = self._target, self._job
        target.lines.discard(self)
        if self in target.idle:
            target.idle.remove(self)
        if target.callbacks.closed:
            return
        if job is not None:
            if self._in_body and not {"content-length", "transfer-encoding"} & self._headers.keys():
                # The end of the connection is the end of such a body (RFC 9112, section 6.3).
                self._end("")
            elif self._used and not self._heard and not job.again:
                # A kept connection that the other side had closed meanwhile; nobody has read this post.
                self._forget()
                job.again = True
                target.queue.appendleft(job)
            else:
                self._end("the connection was lost")
        target.pump()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"the answer is not HTTP: {error}")
            self._transport.abort()

    # What the parser tells.

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
            self._end("the answer is too long")
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

    # How a try ends.

    def _expire(self) -> None:
        self._end("no answer in time")
        self._transport.abort()

    def _end(self, error: str) -> None:
        job = self._job
        if job is None:
            return
        status = None if error else self._parser.get_status_code()
        body, headers = b"".join(self._body), self._headers
        self._forget()
        self._target.callbacks.settle(job, status, body, headers, error)

    def _forget(self) -> None:
        self._job = None
        if self._timer is not None:
            self._timer.cancel()
        self._reset()

    def _reset(self) -> None:
        self._headers = {}
        self._body: list[bytes] = []
        self._size = 0
        self._in_body = False
        self._heard = False


@functools.lru_cache(4096)
def _read_url(url: str) -> tuple[tuple[str, str, int], bytes]:
    """Scheme, host and port of a URL, and how a POST to it starts, the Host header included."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise Invalid(f"This is no URL: {error}.", code="invalid_url") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii() or not url.isprintable():
        raise Invalid("A callback goes to an http or https URL.", code="invalid_url")
    if " " in url:
        raise Invalid("A URL has no spaces.", code="invalid_url")
    where = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    return (parts.scheme, parts.hostname, port), f"POST {where} HTTP/1.1\r\nhost: {host}\r\n".encode()
