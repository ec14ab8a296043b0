"""Check whether links work: with the limits that untrusted URLs require, once for many callers, and cached."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

from waypost.clock import SECOND, now_us
from waypost.domain.tracking.link_verdict import (
    REASONS,
    LinkKind,
    LinkVerdict,
    fault_of_image,
    fault_of_page,
    redirect_target,
)
from waypost.domain.values.egress_guard import LONGEST_URL, Networks, check_url
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import Request, Response
from waypost.errors import Invalid, Unavailable

MOST_REDIRECTS = 5
#: Bytes of a file that a GET asks for. Of servers that send all of it, no more is read.
START = 1024
#: The largest image that Twilio accepts; AWS End User Messaging accepts 2 MB.
LARGEST_IMAGE = 5 * 1024 * 1024
#: Verdicts that are cached; the least recently used are dropped.
CACHED = 50_000
#: Checks that may be under way or wait for their turn.
MOST_RUNNING = 1_000
#: Requests under way at the same time, to one host and in all.
PER_HOST = 8
AT_ONCE = 64

#: Errors of a HEAD request after which a GET may succeed: some servers do not implement HEAD.
_GET_MAY_SUCCEED = frozenset({"connection_lost", "empty_answer", "not_http", "bad_encoding"})


class LinkChecker:
    """Checks links through the outbound client.

    A page works if its URL, or the last one that it redirects to, responds with 2xx to HEAD or else to GET. An image
    also has the content type, the first bytes and the size of an image that providers accept, which takes a GET.
    """

    def __init__(
        self,
        outbound: Outbound,
        allow: Networks,
        *,
        timeout_s: float = 3.0,
        fresh_s: float = 3600.0,
        failed_fresh_s: float = 60.0,
        per_host: int = PER_HOST,
        at_once: int = AT_ONCE,
        most_running: int = MOST_RUNNING,
        cached: int = CACHED,
        now: Callable[[], int] = now_us,
    ) -> None:
        self._outbound = outbound
        self._allow = allow
        self._timeout_s = timeout_s
        self._fresh_us = int(fresh_s * SECOND)
        self._failed_fresh_us = int(failed_fresh_s * SECOND)
        self._most_running = most_running
        self._cached = cached
        self._now = now
        #: By URL, as it was given and in its normal form; the least recently used first.
        self._cache: OrderedDict[tuple[str, LinkKind], LinkVerdict] = OrderedDict()
        self._running: dict[tuple[str, LinkKind], asyncio.Task[LinkVerdict]] = {}
        self._slots = _Slots(per_host, at_once)

    def peek(self, url: str, kind: LinkKind) -> LinkVerdict | None:
        """Return the cached verdict, or None if there is none or it is out of date."""
        key = (url, kind)
        verdict = self._cache.get(key)
        if verdict is None:
            return None
        age = self._now() - verdict.checked_at
        # A negative age means that the clock was set back.
        if not 0 <= age < (self._fresh_us if verdict.ok else self._failed_fresh_us):
            del self._cache[key]
            return None
        self._cache.move_to_end(key)
        return verdict

    async def check(self, url: str, kind: LinkKind) -> LinkVerdict:
        """Return the cached verdict, or check the link. Callers with the same link share one check.

        Raise Unavailable if too many links are being checked, or if the process stops.
        """
        known = self.peek(url, kind)
        if known is not None:
            return known
        try:
            normal = check_url(url, self._allow)
        except Invalid as error:
            return self._keep(url, kind, self._verdict(_fault_of_url(error)))
        known = self.peek(normal, kind)
        if known is not None:
            return self._keep(url, kind, known)
        task = self._running.get((normal, kind)) or self._start(normal, kind)
        # A caller that is cancelled leaves the check to the others.
        return self._keep(url, kind, await asyncio.shield(task))

    def _start(self, url: str, kind: LinkKind) -> asyncio.Task[LinkVerdict]:
        if len(self._running) >= self._most_running:
            raise _busy()
        task = asyncio.get_running_loop().create_task(self._run(url, kind))
        self._running[url, kind] = task
        task.add_done_callback(lambda done: self._end(url, kind, done))
        return task

    def _end(self, url: str, kind: LinkKind, task: asyncio.Task[LinkVerdict]) -> None:
        del self._running[url, kind]
        # Read the error, so that asyncio does not report it when every caller has gone.
        if not task.cancelled():
            task.exception()

    async def _run(self, url: str, kind: LinkKind) -> LinkVerdict:
        return self._keep(url, kind, self._verdict(await self._follow(url, kind)))

    async def _follow(self, url: str, kind: LinkKind) -> tuple[str, str] | None:
        """Follow a link to its end; return the reason and the detail why it does not work, or None if it does."""
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        method, ranged, redirects = ("HEAD" if kind == "page" else "GET"), True, 0
        while True:
            response = await self._ask(url, kind, method, ranged, deadline)
            target = redirect_target(url, response.status, response.headers)
            if target is not None:
                redirects += 1
                if redirects > MOST_REDIRECTS:
                    return "too_many_redirects", f"The URL redirects more than {MOST_REDIRECTS} times."
                try:
                    url = check_url(target, self._allow)
                except Invalid as error:
                    reason, detail = _fault_of_url(error)
                    return reason, f"The URL redirects to {target[:200]}. {detail}"
            elif method == "HEAD" and _head_is_useless(response):
                method = "GET"
            elif response.status == 416 and ranged:
                # The file may be empty, in which there is no range.
                ranged = False
            else:
                return self._fault(response, kind)

    async def _ask(self, url: str, kind: LinkKind, method: str, ranged: bool, deadline: float) -> Response:
        headers = ["accept: */*"]
        if method == "GET":
            # A part of a compressed file cannot always be decompressed.
            headers.append("accept-encoding: identity")
            if ranged:
                headers.append(f"range: bytes=0-{START - 1}")
        # At most half of the time left goes into waiting for a place: a link that was asked with the last few
        # milliseconds would be called dead because others were slow.
        began = asyncio.get_running_loop().time()
        async with self._slots.take(urlsplit(url).netloc, began + (deadline - began) / 2):
            left_ms = int((deadline - asyncio.get_running_loop().time()) * 1000)
            if left_ms <= 0:
                return Response(None, [], b"", "timeout: ", 0)
            # For a page the status is enough, so the first byte of the body ends the response.
            read = 0 if kind == "page" else START
            response, _ = await self._outbound.fetch(
                Request(url, b"", headers, left_ms, method=method, keep=read, read=read)
            )
        return response

    def _fault(self, response: Response, kind: LinkKind) -> tuple[str, str] | None:
        if response.status is None:
            reason = _reason(response)
            if reason == "timeout":
                return reason, f"The URL did not respond within {self._timeout_s:g} s, redirects included."
            return reason, f"The request failed: {response.error}."
        if kind == "page":
            return fault_of_page(response.status)
        return fault_of_image(response.status, response.headers, response.body, LARGEST_IMAGE)

    def _verdict(self, fault: tuple[str, str] | None) -> LinkVerdict:
        reason, detail = fault or ("", "")
        return LinkVerdict(fault is None, reason, detail, self._now())

    def _keep(self, url: str, kind: LinkKind, verdict: LinkVerdict) -> LinkVerdict:
        if len(url) <= LONGEST_URL:
            self._cache[url, kind] = verdict
            self._cache.move_to_end((url, kind))
            if len(self._cache) > self._cached:
                self._cache.popitem(last=False)
        return verdict


class _Slots:
    """Limits the requests under way, to one host and in all."""

    def __init__(self, per_host: int, at_once: int) -> None:
        self._per_host = per_host
        self._all = asyncio.Semaphore(at_once)
        #: The semaphore of each host that is in use, and by how many.
        self._hosts: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @contextlib.asynccontextmanager
    async def take(self, host: str, deadline: float) -> AsyncIterator[None]:
        """Wait for a place. Raise Unavailable if there is none before the deadline, a time of the event loop."""
        semaphore, users = self._hosts.get(host) or (asyncio.Semaphore(self._per_host), 0)
        self._hosts[host] = (semaphore, users + 1)
        try:
            # The host's place comes first: a request that waits for its host takes no place from other hosts.
            async with _within(semaphore, deadline), _within(self._all, deadline):
                yield
        finally:
            _, users = self._hosts[host]
            if users == 1:
                del self._hosts[host]
            else:
                self._hosts[host] = (semaphore, users - 1)


@contextlib.asynccontextmanager
async def _within(semaphore: asyncio.Semaphore, deadline: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(deadline):
            await semaphore.acquire()
    except TimeoutError:
        raise _busy() from None
    try:
        yield
    finally:
        semaphore.release()


def _busy() -> Unavailable:
    return Unavailable("Too many links are being checked. Retry in a moment.", code="link_checks_busy")


def _head_is_useless(response: Response) -> bool:
    """Whether a GET may show that the URL works although HEAD does not."""
    if response.status is not None:
        return not 200 <= response.status <= 299
    return _reason(response) in _GET_MAY_SUCCEED


def _reason(response: Response) -> str:
    code = (response.error or "").partition(":")[0]
    return code if code in REASONS else "failed"


def _fault_of_url(error: Invalid) -> tuple[str, str]:
    return ("address_forbidden" if error.code == "url_address" else "invalid_url"), error.detail
