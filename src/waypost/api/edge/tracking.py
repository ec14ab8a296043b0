"""The route of links: redirect at once, and record the click."""

import os

import structlog

from waypost.api.edge.asgi import HttpScope, Receive, Send, refuse
from waypost.api.edge.direct import DirectCycle, DirectResponse, FixedResponse
from waypost.api.edge.pages import UNSEEN, page, words
from waypost.api.edge.visits import WAIT_S, ShortWaits, read_visit
from waypost.api.problems import SECURITY_HEADERS, unexpected_error
from waypost.clock import now_us
from waypost.domain.tracking.mail_tokens import BAIT
from waypost.domain.tracking.tokens import PATH
from waypost.engine.process import Engine
from waypost.engine.tracking.links import StoredLink
from waypost.errors import Error, Invalid

log = structlog.get_logger()

_METHODS = b"GET, HEAD"
_REDIRECT = FixedResponse(302, [(b"content-length", b"0"), *UNSEEN, *SECURITY_HEADERS])
_UNKNOWN = FixedResponse(
    404,
    *page(
        "This link does not exist",
        words(
            "Please check that the address is complete: messages sometimes cut links off. "
            "If it is, ask whoever sent you the message."
        ),
    ),
)
#: Of the link that no person sees.
_NOTHING = FixedResponse(
    200, *page("Nothing to see here", words("This link is for programs that follow all links of a message."))
)
_EXPIRED = FixedResponse(
    410,
    *page(
        "This link has expired",
        words(
            "The page that it led to is not linked any more. Please visit the website of whoever sent you the message."
        ),
    ),
)


class ClickRoute:
    """Serves `GET` and `HEAD` of `/c/{token}`: without ASGI if the link is in memory."""

    paths = (PATH.encode(),)
    methods = frozenset({b"GET", b"HEAD"})
    most_bytes = 0

    def __init__(self, engine: Engine) -> None:
        self._links = engine.link_finder
        self._clicks = engine.clicks
        self._trusted = engine.trusted_proxies
        self._waits = ShortWaits(WAIT_S)

    def take(self, request: DirectCycle) -> DirectResponse | None:
        """Respond to a request whose link is in memory; leave others, and URLs with a query, to ASGI."""
        link = self._links.cached(request.url[len(PATH) :].decode("latin-1"))
        return None if link is None else self._respond(link, request.method.decode(), request.scope)

    def refusal(self, _error: BaseException) -> None:
        """Return None: whatever becomes of the click, the visitor is redirected."""

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> bool:
        """Serve one request; return False, without a response, if the path is not that of a short link."""
        if scope["type"] != "http" or not (path := scope["path"]).startswith(PATH):
            return False
        try:
            if scope["method"] not in ("GET", "HEAD"):
                raise Invalid("A short link supports only GET and HEAD.", code="method_not_allowed")
            link = await self._links.find(path[len(PATH) :])
            await self._respond(link, scope["method"], scope).send(send)
        except Error as error:
            await refuse(send, error, _METHODS, UNSEEN)
        except Exception as error:
            log.error("request failed", action="request_failed", path=PATH, exc_info=error)
            await refuse(send, unexpected_error(), _METHODS, UNSEEN)
        return True

    def _respond(self, link: StoredLink | None, method: str, scope: HttpScope) -> DirectResponse:
        """Hand in the click; return the redirect, which waits until the click is durable, or for a short while."""
        if link is None or not (link.location or link.number == BAIT):
            return DirectResponse(_UNKNOWN)
        now = now_us()
        if link.expires_at <= now:
            return DirectResponse(_EXPIRED)
        visit = read_visit(method, scope, self._trusted)
        recorded = self._clicks.take(link, visit, now, os.urandom(8).hex())
        if recorded is not None:
            self._waits.add(recorded)
        if not link.location:
            return DirectResponse(_NOTHING, after=recorded)
        return DirectResponse(_REDIRECT, [(b"location", link.location)], recorded)
