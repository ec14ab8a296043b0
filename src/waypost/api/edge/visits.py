"""What the routes of links and pixels share: the request as a visit, and the short wait until it is recorded."""

import asyncio
from collections import deque

from waypost.api.edge.asgi import HttpScope
from waypost.domain.tracking.clicks import LONGEST_USER_AGENT, PREFETCH_HEADERS, Visit, is_prefetch
from waypost.domain.values.address_ranges import AddressRanges, client_address

#: Seconds that an answer waits for the commit of its visit. A slow store must not hold people up.
WAIT_S = 0.05


def read_visit(method: str, scope: HttpScope, trusted: AddressRanges) -> Visit:
    """Return who asks, by the headers of a request and the proxies that are trusted."""
    user_agent = forwarded_for = b""
    prefetch = False
    for name, value in scope["headers"]:
        if name == b"user-agent":
            user_agent = value
        elif name == b"x-forwarded-for":
            forwarded_for = b"%b,%b" % (forwarded_for, value) if forwarded_for else value
        elif name in PREFETCH_HEADERS:
            prefetch = prefetch or is_prefetch(value.decode("latin-1"))
    client = scope.get("client")
    return Visit(
        method=method,
        ip=client_address(client[0] if client else "", forwarded_for.decode("latin-1"), trusted),
        user_agent=_readable(user_agent[:LONGEST_USER_AGENT]),
        prefetch=prefetch,
    )


class ShortWaits:
    """Ends waits that take too long, with one timer for all of them; what is waited for goes on."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        #: The waits and their ends, in order. Those that ended by themselves stay until the timer rings.
        self._waits: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._armed = False

    def add(self, wait: "asyncio.Future[None]") -> None:
        """Set this future in time, unless it is done before."""
        loop = wait.get_loop()
        self._waits.append((loop.time() + self._longest_s, wait))
        if not self._armed:
            self._armed = True
            loop.call_later(self._longest_s, self._end_due, loop)

    def _end_due(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._waits and (self._waits[0][0] <= now or self._waits[0][1].done()):
            _, wait = self._waits.popleft()
            if not wait.done():
                wait.set_result(None)
        self._armed = bool(self._waits)
        if self._armed:
            # Timers are a millisecond coarse: one that fires early must not be armed for no time at all.
            loop.call_later(max(self._waits[0][0] - now, 0.001), self._end_due, loop)


def _readable(text: bytes) -> str:
    """Return the text of a header, without characters that cannot be seen."""
    decoded = text.decode("utf-8", "replace")
    if decoded.isprintable():
        return decoded
    return "".join(character for character in decoded if character.isprintable())
