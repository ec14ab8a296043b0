"""The one HTTP client: libcurl on a thread and a loop of its own, with every limit that strangers make necessary."""

import asyncio
import contextlib
import heapq
import itertools
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import certifi
import msgspec
import pycurl
import structlog

from waypost import __version__
from waypost.domain.addresses import Networks, forbidden
from waypost.domain.deliveries import KEPT_BODY
from waypost.errors import Unavailable

log = structlog.get_logger()

#: An answer is read up to here, decompressed; then the connection is closed and the status counts.
READ_BODY = 256 * 1024
#: Headers kept of an answer.
KEPT_HEADERS = 16 * 1024
KEPT_CONNECTIONS = 512
#: The longest that the loop sleeps at a time.
LONGEST_WAIT_S = 60.0
USER_AGENT = f"Waypost/{__version__}"

_EVENTS = (0, select.EPOLLIN, select.EPOLLOUT, select.EPOLLIN | select.EPOLLOUT)
_READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLRDHUP
_PHASES = (
    ("dns", pycurl.NAMELOOKUP_TIME),
    ("connect", pycurl.CONNECT_TIME),
    ("tls", pycurl.APPCONNECT_TIME),
    ("sent", pycurl.PRETRANSFER_TIME),
    ("first_byte", pycurl.STARTTRANSFER_TIME),
    ("total", pycurl.TOTAL_TIME),
)
_SHUTTING_DOWN = "The server is shutting down. Send it again in a moment."
_ERRORS = {
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_COULDNT_RESOLVE_HOST: "dns",
    pycurl.E_COULDNT_RESOLVE_PROXY: "proxy",
    pycurl.E_COULDNT_CONNECT: "connect",
    pycurl.E_SSL_CONNECT_ERROR: "tls",
    pycurl.E_PEER_FAILED_VERIFICATION: "tls",
    pycurl.E_GOT_NOTHING: "empty_answer",
    pycurl.E_RECV_ERROR: "connection_lost",
    pycurl.E_SEND_ERROR: "connection_lost",
    pycurl.E_PARTIAL_FILE: "connection_lost",
    pycurl.E_FTP_WEIRD_SERVER_REPLY: "not_http",
    pycurl.E_UNSUPPORTED_PROTOCOL: "not_http",
    pycurl.E_BAD_CONTENT_ENCODING: "bad_encoding",
}


class Request(msgspec.Struct):
    """One HTTP request to somebody else's server."""

    url: str
    body: bytes
    headers: list[str]
    #: For everything, from the name look-up to the last byte of the answer's body.
    timeout_ms: int
    method: str = "POST"
    #: Bytes of the answer's body to keep.
    keep: int = KEPT_BODY


class Response(msgspec.Struct):
    """What came back, or why nothing did."""

    #: None when there was no whole answer: then `error` says why, and `seen_status` what had been said so far.
    status: int | None
    headers: list[tuple[str, str]]
    #: The first bytes of the body, decompressed.
    body: bytes
    #: `code: words`, or None.
    error: str | None
    duration_us: int
    seen_status: int | None = None


class _Socket(socket.socket):
    """A socket that libcurl makes a descriptor of its own from: this one is closed without anybody asking."""

    def __del__(self) -> None:
        self.close()


class _Call:
    """A reusable libcurl handle and what the call that it is busy with gathers."""

    __slots__ = ("body", "curl", "done", "heads", "keep", "kept", "opened", "read", "refused", "request", "started_at")

    def __init__(self) -> None:
        self.curl = pycurl.Curl()
        self.done: Callable[[Response], None] | None = None
        self.request: Request | None = None
        self.heads: list[bytes] = []
        self.body: list[bytes] = []
        self.read = self.kept = 0
        self.keep = KEPT_BODY
        self.refused: str | None = None
        self.opened = False
        self.started_at = 0.0

    def take_header(self, line: bytes) -> None:
        self.kept += len(line)
        if self.kept <= KEPT_HEADERS:
            self.heads.append(line)

    def take_body(self, part: bytes) -> int:
        room = self.keep - self.read
        if room > 0:
            self.body.append(part[:room])
        self.read += len(part)
        # Anything but the length tells libcurl to stop.
        return len(part) if self.read <= READ_BODY else -1


class Outbound:
    """Sends requests and runs small jobs on a thread of its own; only `run`, `fetch` and `stop` are for the others."""

    def __init__(self, allow: Networks, proxy: str = "") -> None:
        self._allow = allow
        self._proxy = proxy
        self._authorities = _authorities()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, KEPT_CONNECTIONS)
        self._epoll = select.epoll()
        self._watched: dict[int, int] = {}
        self._idle: set[int] = set()
        self._timer: float | None = None
        self._free: list[_Call] = []
        self._busy: dict[pycurl.Curl, _Call] = {}
        self._jobs: deque[Callable[[], None]] = deque()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._woken = False
        self._epoll.register(self._wake, select.EPOLLIN)
        self._stopping = False
        self._stopped = False
        #: Those who wait in `fetch`.
        self._waiting: set[asyncio.Future[tuple[Response, dict[str, float]]]] = set()
        self._thread = threading.Thread(target=self._loop, name="waypost-outbound", daemon=True)
        self._thread.start()

    def run(self, job: Callable[[], None]) -> None:
        """Run a small job on the thread soon; nothing happens once it was stopped."""
        self._jobs.append(job)
        if not self._woken and not self._stopped:
            self._woken = True
            os.eventfd_write(self._wake, 1)

    async def fetch(self, request: Request) -> tuple[Response, dict[str, float]]:
        """Send one request and wait for its answer, with how long each phase took in milliseconds.

        Unavailable when this is stopped meanwhile.
        """
        if self._stopping:
            raise Unavailable(_SHUTTING_DOWN)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[Response, dict[str, float]]] = loop.create_future()

        def settle(result: tuple[Response, dict[str, float]]) -> None:
            if not future.done():
                future.set_result(result)

        def start() -> None:
            try:
                call = self.send(request, lambda response: answer(response))
            except Exception as error:
                # Whoever waits is told when libcurl refuses to start a request.
                refused = Response(None, [], b"", f"not_sent: {error}", 0)
                loop.call_soon_threadsafe(settle, (refused, {}))
                return

            def answer(response: Response) -> None:
                loop.call_soon_threadsafe(settle, (response, phases(call)))

        self._waiting.add(future)
        try:
            self.run(start)
            return await future
        finally:
            self._waiting.discard(future)

    def send(self, request: Request, done: Callable[[Response], None]) -> pycurl.Curl:
        """Start a request; `done` is called on this thread. For use on the thread only."""
        call = self._free.pop() if self._free else self._make()
        curl = call.curl
        call.request, call.done = request, done
        call.heads, call.body = [], []
        call.read = call.kept = 0
        call.keep = request.keep
        call.refused = None
        call.opened = False
        call.started_at = time.monotonic()
        curl.setopt(pycurl.URL, request.url)
        curl.setopt(pycurl.HTTPHEADER, request.headers)
        curl.setopt(pycurl.TIMEOUT_MS, request.timeout_ms)
        curl.setopt(pycurl.POSTFIELDS, request.body)
        if request.method != "POST":
            curl.setopt(pycurl.CUSTOMREQUEST, request.method)
        self._busy[curl] = call
        self._multi.add_handle(curl)
        return curl

    def call_at(self, moment: float, job: Callable[[], None]) -> None:
        """Run a job at a moment of the monotonic clock. For use on the thread only."""
        heapq.heappush(self._later, (moment, next(self._count), job))

    async def stop(self) -> None:
        """End the thread; requests under way are cut off without their `done` being called."""
        self._stopping = True
        self.run(lambda: None)
        await asyncio.to_thread(self._thread.join)
        if self._stopped:
            return
        self._stopped = True
        for future in self._waiting:
            if not future.done():
                future.set_exception(Unavailable(_SHUTTING_DOWN))
        self._close()

    def _make(self) -> _Call:
        call = _Call()
        curl = call.curl
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.FOLLOWLOCATION, 0)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.USERAGENT, USER_AGENT)
        curl.setopt(pycurl.ACCEPT_ENCODING, "gzip, deflate")
        curl.setopt(pycurl.CAINFO, self._authorities)
        # Never the proxy of the environment: only the one of the settings, and then for everything.
        curl.setopt(pycurl.PROXY, self._proxy)
        curl.setopt(pycurl.NOPROXY, "")
        curl.setopt(pycurl.HEADERFUNCTION, call.take_header)
        curl.setopt(pycurl.WRITEFUNCTION, call.take_body)

        def open_socket(_purpose: int, address: tuple[Any, ...]) -> socket.socket | int:
            # The address here is the one that the connection is made to: nothing is looked up a second time.
            family, kind, protocol, target = address
            if not self._proxy:
                reason = forbidden(target[0], self._allow) if isinstance(target, tuple) else "not an internet address"
                if reason is not None:
                    call.refused = f"{target[0]} is a {reason}"
                    return pycurl.SOCKET_BAD
            self._forget_idle()
            call.opened = True
            return _Socket(family, kind, protocol)

        curl.setopt(pycurl.OPENSOCKETFUNCTION, open_socket)
        return call

    def _close(self) -> None:
        """Let go of every descriptor; the thread has ended."""
        for curl in self._busy:
            self._multi.remove_handle(curl)
        for call in [*self._busy.values(), *self._free]:
            call.curl.close()
        self._multi.close()
        self._epoll.close()
        os.close(self._wake)

    def _loop(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except Exception:
                # One broken callback must not strand the deliveries of everybody else.
                log.exception("outbound turn failed", action="outbound_turn_failed")

    def _turn(self) -> None:
        jobs = self._jobs
        while jobs:
            self._guard(jobs.popleft())
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._guard(heapq.heappop(self._later)[2])
        if self._timer is not None and self._timer <= now:
            self._timer = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
            self._collect()
            return
        wait = -1.0
        if self._timer is not None:
            wait = self._timer - now
        if self._later:
            wait = self._later[0][0] - now if wait < 0 else min(wait, self._later[0][0] - now)
        if jobs:
            wait = 0
        # epoll counts in milliseconds of 32 bits; whoever wants to wait longer is asked again.
        for fd, events in self._epoll.poll(wait if wait < 0 else min(wait + 0.0001, LONGEST_WAIT_S)):
            if fd == self._wake:
                # Emptied first, then marked as empty. The other way round, a job in between would leave the mark of a
                # full one on an empty one, and nobody would wake this loop again. Jobs are looked at after both.
                os.eventfd_read(fd)
                self._woken = False
            elif fd in self._idle:
                # A connection that nobody uses was closed or spoke out of turn; libcurl finds out when it reuses it.
                self._idle.discard(fd)
                self._unregister(fd)
            else:
                action = pycurl.CSELECT_IN if events & _READABLE else 0
                action |= pycurl.CSELECT_OUT if events & select.EPOLLOUT else 0
                action |= pycurl.CSELECT_ERR if events & select.EPOLLERR else 0
                self._multi.socket_action(fd, action)
        self._collect()

    def _collect(self) -> None:
        queued = 1
        while queued:
            queued, finished, failed = self._multi.info_read()
            for curl in finished:
                self._finish(curl, None, "")
            for curl, number, message in failed:
                self._finish(curl, number, message)

    def _finish(self, curl: pycurl.Curl, failure: int | None, message: str) -> None:
        call = self._busy.pop(curl)
        self._multi.remove_handle(curl)
        done, request = call.done, call.request
        if done is None or request is None:
            return
        duration = int((time.monotonic() - call.started_at) * 1_000_000)
        seen = curl.getinfo(pycurl.RESPONSE_CODE) or None
        error = None
        if failure == pycurl.E_WRITE_ERROR and call.read > READ_BODY:
            # It said more than anybody will read. What it said first counts.
            failure = None
        if failure is not None:
            if self._proxy and failure == pycurl.E_COULDNT_CONNECT:
                # The proxy is all that is ever connected to, or it refused to connect any further.
                failure = pycurl.E_COULDNT_RESOLVE_PROXY
            error = _explain(call, failure, message, request)
        response = Response(
            status=seen if failure is None else None,
            headers=_headers(call.heads),
            body=call.body[0] if len(call.body) == 1 else b"".join(call.body),
            error=error,
            duration_us=duration,
            seen_status=seen,
        )
        try:
            done(response)
        except Exception:
            log.exception("a settled request could not be handled", action="outbound_job_failed")
        call.done = call.request = None
        if request.method != "POST":
            curl.unsetopt(pycurl.CUSTOMREQUEST)
        self._free.append(call)

    def _guard(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception:
            log.exception("outbound job failed", action="outbound_job_failed")

    def _watch(self, what: int, fd: int, _multi: object, _data: object) -> None:
        # A connection that goes idle stays registered: taking it out and putting it back costs a fifth of a request.
        if what == pycurl.POLL_REMOVE:
            self._idle.add(fd)
            return
        events = _EVENTS[what]
        known = self._watched.get(fd)
        if fd in self._idle:
            # Told again even if nothing seems to change: the number may belong to a new descriptor by now.
            self._idle.discard(fd)
        elif known == events:
            return
        try:
            if known is None:
                self._epoll.register(fd, events)
            else:
                self._epoll.modify(fd, events)
        except FileNotFoundError:
            # The descriptor was closed and its number given to a new connection.
            self._epoll.register(fd, events)
        except FileExistsError:
            self._epoll.modify(fd, events)
        self._watched[fd] = events

    def _forget_idle(self) -> None:
        """Before a new connection: its descriptor may have the number of an idle one that libcurl closed unseen."""
        for fd in self._idle:
            self._unregister(fd)
        self._idle.clear()

    def _unregister(self, fd: int) -> None:
        del self._watched[fd]
        # One that was closed already was taken out by that.
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)

    def _set_timer(self, milliseconds: int) -> None:
        self._timer = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


def phases(curl: pycurl.Curl) -> dict[str, float]:
    """When each phase of a finished call was over, in milliseconds since its start."""
    return {name: round(curl.getinfo(number) * 1000, 3) for name, number in _PHASES}


def _explain(call: _Call, failure: int, message: str, request: Request) -> str:
    # A name may have an address that is refused and another one that is not: then that one tells what happened.
    if call.refused is not None and not call.opened:
        return f"address_forbidden: {call.refused}, which webhooks may not reach"
    if failure == pycurl.E_OPERATION_TIMEDOUT:
        return f"timeout: no whole answer within {request.timeout_ms / 1000:g} s"
    return f"{_ERRORS.get(failure, f'curl_{failure}')}: {message}"


def _headers(lines: list[bytes]) -> list[tuple[str, str]]:
    """The headers of the last answer in what libcurl handed over: each answer starts with its status line."""
    found: list[tuple[str, str]] = []
    for line in lines:
        header = _header(line)
        if header is not None:
            found.append(header)
        elif line.startswith(b"HTTP/"):
            found.clear()
    return found


@lru_cache(maxsize=4096)
def _header(line: bytes) -> tuple[str, str] | None:
    """One header line, taken apart; receivers send the same few lines again and again."""
    name, colon, value = line.partition(b":")
    if not colon or name.startswith(b"HTTP/"):
        return None
    return name.decode("latin-1").strip().lower(), value.decode("latin-1").strip()


def _authorities() -> str:
    """The file of certificate authorities: the operator's, the system's, or the one that comes with certifi."""
    for name in (
        os.environ.get("SSL_CERT_FILE"),
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
    ):
        if name and Path(name).is_file():
            return name
    return certifi.where()
