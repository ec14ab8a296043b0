"""Send all outbound requests: libcurl on its own thread and event loop, with the limits that untrusted URLs require."""

import asyncio
import contextlib
import heapq
import itertools
import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable

import pycurl
import structlog

from waypost.domain.values.egress_guard import Networks
from waypost.engine.net.curl_transfer import DIED, Handle, Kind, find_authorities
from waypost.engine.net.request import Request, Response, phases
from waypost.engine.net.smtp_pool import SmtpPool, Unreached
from waypost.errors import Unavailable

log = structlog.get_logger()

KEPT_CONNECTIONS = 512
#: How long jobs may run before the loop looks after the requests in progress again.
JOBS_S = 0.002
#: The longest sleep of the loop.
LONGEST_WAIT_S = 60.0

_IN = select.EPOLLIN | select.EPOLLRDHUP
_EVENTS = (0, _IN, select.EPOLLOUT, _IN | select.EPOLLOUT)
_READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLRDHUP
_OVER = select.EPOLLERR | select.EPOLLHUP | select.EPOLLRDHUP
_SHUTTING_DOWN = "The server is shutting down. Retry in a moment."

#: The response, when each phase ended, and the connection for a handle of the kind SOCKET.
_Answer = tuple[Response, dict[str, float], socket.socket | None]


class Outbound:
    """Sends requests and runs small jobs on a thread of its own.

    `send` and `call_at` must be called on that thread; everything else on other threads.
    """

    def __init__(self, allow: Networks, proxy: str = "") -> None:
        self._allow = allow
        self._proxy = proxy
        self._authorities = find_authorities()
        self._smtp_pool = SmtpPool(self.connect, self._authorities)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_MAXCONNECTS, KEPT_CONNECTIONS)
        self._epoll = select.epoll()
        self._watched: dict[int, int] = {}
        self._idle: set[int] = set()
        self._free: dict[Kind, list[Handle]] = {kind: [] for kind in Kind}
        #: Whether a ONCE request is about to take a connection, which must not be a dead one.
        self._fresh = False
        self._busy: dict[pycurl.Curl, Handle] = {}
        self._jobs: deque[Callable[[], None]] = deque()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._woken = False
        self._epoll.register(self._wake, select.EPOLLIN)
        self._stopping = False
        self._stopped = False
        #: The callers that wait in `fetch` and `connect`.
        self._waiting: set[asyncio.Future[_Answer]] = set()
        self._thread = threading.Thread(target=self._loop, name="waypost-outbound", daemon=True)
        self._thread.start()

    def run(self, job: Callable[[], None]) -> None:
        """Run a small job on the thread soon; do nothing after `stop`."""
        self._jobs.append(job)
        if not self._woken and not self._stopped:
            self._woken = True
            os.eventfd_write(self._wake, 1)

    async def fetch(self, request: Request) -> tuple[Response, dict[str, float]]:
        """Send one request; return the response, and when each phase ended in milliseconds.

        Raises Unavailable when the process stops meanwhile.
        """
        if self._stopping:
            raise Unavailable(_SHUTTING_DOWN)
        if request.envelope is not None:
            return await self._smtp_pool.send(request)
        response, timings, _ = await self._ask(Kind.ONCE if request.once else Kind.MANY, request)
        return response, timings

    async def connect(self, url: str, timeout_ms: int) -> socket.socket:
        """Return a new connection to the host and port of an `http://` URL, for a protocol other than HTTP.

        It obeys the same rules as requests: it uses the proxy, if there is one, and reaches no forbidden address.
        Raises Unreached when the connection fails, and Unavailable when the process stops meanwhile.
        """
        if self._stopping:
            raise Unavailable(_SHUTTING_DOWN)
        response, _, connection = await self._ask(Kind.SOCKET, Request(url, b"", [], timeout_ms))
        if connection is None:
            raise Unreached(response.error or "connect: there is no connection")
        return connection

    def make_context(self) -> ssl.SSLContext:
        """Return a TLS context that checks certificates as requests do, for a connection of `connect`."""
        return ssl.create_default_context(cafile=self._authorities)

    async def check_mail(self, request: Request) -> Response:
        """Check a mail server in a new session, up to its reply to MAIL FROM; send no mail."""
        if self._stopping:
            raise Unavailable(_SHUTTING_DOWN)
        return await self._smtp_pool.check(request)

    def send(self, request: Request, done: Callable[[Response], None]) -> pycurl.Curl:
        """Start an HTTP request; `done` is called on this thread."""
        return self._send(Kind.ONCE if request.once else Kind.MANY, request, done).curl

    def _send(self, kind: Kind, request: Request, done: Callable[[Response], None]) -> Handle:
        free = self._free[kind]
        call = free.pop() if free else Handle(kind, self._allow, self._proxy, self._authorities, self._forget_idle)
        curl = call.start(request, done)
        if kind is Kind.ONCE:
            self._fresh = True
        self._busy[curl] = call
        self._multi.add_handle(curl)
        return call

    async def _ask(self, kind: Kind, request: Request) -> _Answer:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Answer] = loop.create_future()

        def settle(answer: _Answer) -> None:
            if not future.done():
                future.set_result(answer)
            elif answer[2] is not None:
                answer[2].close()

        def start() -> None:
            try:
                call = self._send(kind, request, lambda response: tell(response))
            except Exception as error:
                # libcurl refused to start the request: return that as its error.
                refused = Response(None, [], b"", f"not_sent: {error}", 0, sent=False)
                loop.call_soon_threadsafe(settle, (refused, {}, None))
                return

            def tell(response: Response) -> None:
                loop.call_soon_threadsafe(settle, (response, phases(call.curl), call.connection))

        self._waiting.add(future)
        try:
            self.run(start)
            return await future
        finally:
            self._waiting.discard(future)

    def _resend(self, call: Handle, request: Request) -> bool:
        """Send a request on a new connection when the reused ones were dead before anything was sent."""
        if not call.start_again(request):
            return False
        self._busy[call.curl] = call
        self._multi.add_handle(call.curl)
        return True

    def call_at(self, moment: float, job: Callable[[], None]) -> None:
        """Run a job at a time of the monotonic clock."""
        heapq.heappush(self._later, (moment, next(self._count), job))

    async def stop(self) -> None:
        """End the thread; requests in progress are cut off, and their `done` is not called."""
        self._stopping = True
        self._smtp_pool.close()
        self.run(lambda: None)
        await asyncio.to_thread(self._thread.join)
        if self._stopped:
            return
        self._stopped = True
        for future in self._waiting:
            if not future.done():
                future.set_exception(Unavailable(_SHUTTING_DOWN))
        self._close()

    def _close(self) -> None:
        """Close every descriptor, after the thread has ended."""
        for curl in self._busy:
            self._multi.remove_handle(curl)
        for call in itertools.chain(self._busy.values(), *self._free.values()):
            call.curl.close()
        self._multi.close()
        self._epoll.close()
        os.close(self._wake)

    def _loop(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except Exception:
                # An error in one callback must not stop the requests of all others.
                log.exception("outbound turn failed", action="outbound_turn_failed")

    def _turn(self) -> None:
        jobs = self._jobs
        now = time.monotonic()
        end = now + JOBS_S
        while jobs and now < end:
            self._guard(jobs.popleft())
            now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._guard(heapq.heappop(self._later)[2])
        # One question a turn costs less than a callback for every change, of which a request makes three.
        milliseconds = self._multi.timeout()
        if milliseconds == 0:
            if self._fresh:
                self._fresh = False
                self._sweep()
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
            self._collect()
        wait = milliseconds / 1000
        if self._later:
            wait = self._later[0][0] - now if wait < 0 else min(wait, self._later[0][0] - now)
        if jobs:
            wait = 0
        # epoll counts milliseconds in 32 bits, so longer waits are repeated.
        ready = self._epoll.poll(wait if wait < 0 else min(wait + 0.0001, LONGEST_WAIT_S))
        # Idle ones come first: nothing has touched their descriptors yet since the poll.
        for fd, events in ready:
            if fd in self._idle:
                self._retire(fd, events)
        for fd, events in ready:
            if fd == self._wake:
                # Read the counter first, then clear the flag. Otherwise a job added in between would leave the flag set
                # with an empty counter, and nothing would wake this loop again. Jobs run after both.
                os.eventfd_read(fd)
                self._woken = False
            elif fd in self._watched and fd not in self._idle:
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
        if call.kind is Kind.SOCKET:
            self._take_over(call, failure)
        self._multi.remove_handle(curl)
        done, request = call.done, call.request
        if done is None or request is None:
            return
        if failure in DIED and self._resend(call, request):
            return
        try:
            done(call.read_response(failure, message))
        except Exception:
            log.exception("the callback of a request failed", action="outbound_job_failed")
        call.finish(request)
        self._free[call.kind].append(call)

    def _take_over(self, call: Handle, failure: int | None) -> None:
        """Duplicate the connection that libcurl made, because libcurl closes its own."""
        fd = -1 if failure is not None else call.curl.getinfo(pycurl.ACTIVESOCKET)
        if fd < 0:
            return
        if fd in self._watched:
            # libcurl closes this descriptor, but epoll watches the open file, which the duplicate keeps open.
            self._idle.discard(fd)
            self._unregister(fd)
        call.connection = socket.socket(fileno=os.dup(fd))

    def _guard(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception:
            log.exception("outbound job failed", action="outbound_job_failed")

    def _watch(self, what: int, fd: int, _multi: object, _data: object) -> None:
        # An idle connection stays registered: removing and adding it again costs a fifth of a request.
        if what == pycurl.POLL_REMOVE:
            if fd in self._watched:
                self._idle.add(fd)
            if self._watched.get(fd, _IN) != _IN:
                # It was last watched for writing. While it is idle, only its end matters.
                self._watched[fd] = _IN
                with contextlib.suppress(OSError):
                    self._epoll.modify(fd, _IN)
            return
        events = _EVENTS[what]
        known = self._watched.get(fd)
        if fd in self._idle:
            # Register it again even if nothing seems to change: the number may belong to a new descriptor.
            self._idle.discard(fd)
        elif known == events:
            return
        try:
            if known is None:
                self._epoll.register(fd, events)
            else:
                self._epoll.modify(fd, events)
        except FileNotFoundError:
            # The descriptor was closed and its number reused for a new connection.
            self._epoll.register(fd, events)
        except FileExistsError:
            self._epoll.modify(fd, events)
        self._watched[fd] = events

    def _forget_idle(self) -> None:
        """Unregister idle connections: a new descriptor may reuse the number of one that libcurl has closed."""
        for fd in self._idle:
            self._unregister(fd)
        self._idle.clear()

    def _sweep(self) -> None:
        """Find idle connections that were closed; epoll reports the data of others again."""
        for fd, events in self._epoll.poll(0) if self._idle else ():
            if fd in self._idle:
                self._retire(fd, events)

    def _retire(self, fd: int, events: int) -> None:
        """Handle an idle connection that became readable: usually its server closed it."""
        connection = socket.socket(fileno=fd)
        try:
            if not events & _OVER and _goes_on(connection.recv(5, socket.MSG_PEEK | socket.MSG_DONTWAIT)):
                # libcurl reads the data when it uses the connection; until then only its end matters.
                self._watched[fd] = select.EPOLLRDHUP
                self._epoll.modify(fd, select.EPOLLRDHUP)
                return
            # libcurl does not check an idle connection for a second, and would send a request into it. After the
            # shutdown a write fails at once, so that certainly nothing of the request is sent.
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            # The connection is closed already.
            pass
        finally:
            connection.detach()
        self._idle.discard(fd)
        self._unregister(fd)

    def _unregister(self, fd: int) -> None:
        del self._watched[fd]
        # Closing a descriptor has unregistered it already.
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)


def _goes_on(header: bytes) -> bool:
    """Whether an idle connection stays usable after unexpected data, by its first five bytes.

    It does after TLS records with content, such as a frame of HTTP/2. In TLS 1.3 a record of up to 19 bytes is an
    alert, whose type is encrypted (RFC 8446, 5.2): usually close_notify. An HTTP/1 server sends nothing unasked.
    """
    return len(header) == 5 and (header[0] == 22 or (header[0] == 23 and int.from_bytes(header[3:]) > 19))
