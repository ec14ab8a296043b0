"""What the routes of links and pixels share: the request as a visit, and the short wait until it is recorded."""

import asyncio

from waypost.api.edge.asgi import HttpScope
from waypost.domain.tracking.clicks import LONGEST_USER_AGENT, PREFETCH_HEADERS, Visit, is_prefetch
from waypost.domain.values.address_ranges import AddressRanges, client_address

#: Seconds that an answer waits for the commit of its visit. A slow store must not hold people up.
WAIT_S = 0.05


def read_visit(scope: HttpScope, trusted: AddressRanges) -> Visit:
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
        method=scope["method"],
        ip=client_address(client[0] if client else "", forwarded_for.decode("latin-1"), trusted),
        user_agent=_readable(user_agent[:LONGEST_USER_AGENT]),
        prefetch=prefetch,
    )


async def wait_shortly(recorded: "asyncio.Future[None] | None") -> None:
    """Return when a visit is durable, or after a short while; at once if it was dropped."""
    if recorded is None:
        return
    timer = asyncio.get_running_loop().call_later(WAIT_S, _let_go, recorded)
    try:
        await recorded
    finally:
        timer.cancel()


def _let_go(recorded: "asyncio.Future[None]") -> None:
    """End the wait for a visit; it stays with the journal."""
    if not recorded.done():
        recorded.set_result(None)


def _readable(text: bytes) -> str:
    """Return the text of a header, without characters that cannot be seen."""
    decoded = text.decode("utf-8", "replace")
    if decoded.isprintable():
        return decoded
    return "".join(character for character in decoded if character.isprintable())
