"""The outbound side of the bare program: libcurl's multi interface on a thread and a loop of its own."""

import binascii
import contextlib
import hmac
import os
import select
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable

import pycurl

from bench.writer import Attempt, Event, report

IN_FLIGHT = 64
WANTED = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}


class Call:
    """One reusable easy handle and the event it is posting."""

    __slots__ = ("answer", "curl", "event", "start", "started_at")

    def __init__(self, url: str, closed: Callable[[int], int]) -> None:
        self.event: Event | None = None
        self.started_at = 0
        self.start = 0.0
        self.answer: list[bytes] = []
        self.curl = curl = pycurl.Curl()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.TIMEOUT_MS, 5000)
        curl.setopt(pycurl.USERAGENT, "bare")
        curl.setopt(pycurl.CLOSESOCKETFUNCTION, closed)
        # A bound method of a list: libcurl's callback never enters Python code.
        curl.setopt(pycurl.WRITEFUNCTION, self.answer.append)


class Courier(threading.Thread):
    """Posts every event once, `IN_FLIGHT` at a time, on a loop of its own: epoll around libcurl's socket interface."""

    def __init__(self, url: str, secret: bytes, done: Callable[[Iterable[Attempt]], None]) -> None:
        super().__init__(name="courier")
        self._secret = secret
        self._done = done
        self._queue: deque[Event] = deque()
        self._stopping = False
        self._sleeping = False
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN)
        # What epoll watches a socket for. libcurl takes a kept-alive socket back after each answer and offers it again
        # with the next request: to leave it in epoll meanwhile saves two system calls for every post.
        self._watched: dict[int, int] = {}
        self._unused: set[int] = set()
        self._due: float | None = None
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, IN_FLIGHT)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._remind)
        self._free = [Call(url, self._forget) for _ in range(IN_FLIGHT)]
        self._calls = {call.curl: call for call in self._free}

    def send(self, events: Iterable[Event]) -> None:
        """Post these events soon. Called from other threads."""
        self._queue.extend(events)
        if self._sleeping:
            self._sleeping = False
            os.eventfd_write(self._bell, 1)

    def stop(self) -> None:
        """Post what is queued, then end."""
        self._stopping = True
        os.eventfd_write(self._bell, 1)

    def run(self) -> None:
        socket_action, poll, timeout_event = self._multi.socket_action, self._epoll.poll, pycurl.SOCKET_TIMEOUT
        while True:
            while self._free and self._queue:
                self._begin(self._free.pop(), self._queue.popleft())
            if self._stopping and not self._queue and len(self._free) == IN_FLIGHT:
                break
            wait: float = -1
            if self._due is not None:
                wait = self._due - time.monotonic()
                if wait <= 0:
                    self._due = None
                    socket_action(timeout_event, 0)
                    wait = 0
            elif not self._queue or not self._free:
                # The same dance as the writer's: look again after saying that we sleep.
                self._sleeping = True
                if self._queue and self._free:
                    wait = 0
            for descriptor, mask in poll(wait, IN_FLIGHT + 1):
                if descriptor == self._bell:
                    with contextlib.suppress(BlockingIOError):
                        os.eventfd_read(self._bell)
                elif descriptor in self._unused:
                    # Closed by the receiver while libcurl keeps it for later: libcurl will see for itself.
                    self._epoll.unregister(descriptor)
                    self._watched.pop(descriptor, None)
                    self._unused.discard(descriptor)
                else:
                    socket_action(
                        descriptor,
                        (pycurl.CSELECT_IN if mask & (select.EPOLLIN | select.EPOLLHUP) else 0)
                        | (pycurl.CSELECT_OUT if mask & select.EPOLLOUT else 0)
                        | (pycurl.CSELECT_ERR if mask & select.EPOLLERR else 0),
                    )
            self._sleeping = False
            self._collect()
        with warnings.catch_warnings():
            # pycurl cannot call `_forget` while it closes everything; the sockets end with the process.
            warnings.simplefilter("ignore", RuntimeWarning)
            self._multi.close()

    def _begin(self, call: Call, event: Event) -> None:
        try:
            call.started_at = now = time.time_ns() // 1000  # microseconds
            call.start = time.monotonic()
            stamp = str(now // 1_000_000)
            identity = f"evt_{event.id:016x}"
            digest = hmac.digest(self._secret, b"%b.%b.%b" % (identity.encode(), stamp.encode(), event.body), "sha256")
            signature = binascii.b2a_base64(digest, newline=False).decode()
            call.event = event
            call.curl.setopt(
                pycurl.HTTPHEADER,
                (
                    "Content-Type: application/json",
                    f"webhook-id: {identity}",
                    f"webhook-timestamp: {stamp}",
                    f"webhook-signature: v1,{signature}",
                ),
            )
            call.curl.setopt(pycurl.POSTFIELDS, event.body)
            self._multi.add_handle(call.curl)
        except Exception:
            report()
            self._free.append(call)

    def _collect(self) -> None:
        attempts: list[Attempt] = []
        more = 1
        while more:
            more, finished, failed = self._multi.info_read(IN_FLIGHT)
            for curl in finished:
                self._end(curl, None, attempts)
            for curl, code, text in failed:
                self._end(curl, f"{code} {text}", attempts)
        if attempts:
            self._done(attempts)

    def _end(self, curl: pycurl.Curl, error: str | None, attempts: list[Attempt]) -> None:
        call = self._calls[curl]
        try:
            event = call.event
            assert event is not None
            if error is not None:
                sys.stderr.write(f"event {event.id}: {error}\n")
            status = 0 if error is not None else int(curl.getinfo(pycurl.RESPONSE_CODE))
            duration = int((time.monotonic() - call.start) * 1_000_000)
            attempts.append(Attempt(event.id, call.started_at, duration, status))
        except Exception:
            report()
        finally:
            self._multi.remove_handle(curl)
            call.event = None
            call.answer.clear()
            self._free.append(call)

    def _watch(self, what: int, descriptor: int, multi: object, data: object) -> None:
        if what == pycurl.POLL_REMOVE:
            self._unused.add(descriptor)
            return
        self._unused.discard(descriptor)
        mask = WANTED[what]
        watched = self._watched.get(descriptor)
        if watched == mask:
            return
        if watched is None:
            self._epoll.register(descriptor, mask)
        else:
            self._epoll.modify(descriptor, mask)
        self._watched[descriptor] = mask

    def _forget(self, descriptor: int) -> int:
        # The number will be given to another socket, which epoll does not watch yet.
        self._watched.pop(descriptor, None)
        self._unused.discard(descriptor)
        os.close(descriptor)
        return 0

    def _remind(self, milliseconds: int) -> None:
        self._due = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000
