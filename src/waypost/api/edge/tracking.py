"""The route of short links as raw ASGI: redirect at once, and record the click."""

import os

import structlog

from waypost.api.edge.asgi import Headers, HttpScope, Receive, Send, answer, refuse
from waypost.api.edge.pages import UNSEEN, page, words
from waypost.api.edge.visits import read_visit, wait_shortly
from waypost.api.problems import SECURITY_HEADERS, unexpected_error
from waypost.clock import now_us
from waypost.domain.tracking.mail_tokens import BAIT
from waypost.domain.tracking.tokens import PATH
from waypost.engine.process import Engine
from waypost.errors import Error, Invalid

log = structlog.get_logger()

_METHODS = b"GET, HEAD"
_REDIRECT: Headers = [(b"content-length", b"0"), *UNSEEN, *SECURITY_HEADERS]

_UNKNOWN = page(
    "This link does not exist",
    words(
        "Please check that the address is complete: messages sometimes cut links off. "
        "If it is, ask whoever sent you the message."
    ),
)
#: Of the link that no person sees.
_NOTHING = page("Nothing to see here", words("This link is for programs that follow all links of a message."))
_EXPIRED = page(
    "This link has expired",
    words("The page that it led to is not linked any more. Please visit the website of whoever sent you the message."),
)


class ClickRoute:
    """Serves `GET` and `HEAD` of `/c/{token}`."""

    def __init__(self, engine: Engine) -> None:
        self._links = engine.link_finder
        self._clicks = engine.clicks
        self._trusted = engine.trusted_proxies

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> bool:
        """Serve one request; return False, without a response, if the path is not that of a short link."""
        if scope["type"] != "http" or not (path := scope["path"]).startswith(PATH):
            return False
        try:
            if scope["method"] not in ("GET", "HEAD"):
                raise Invalid("A short link supports only GET and HEAD.", code="method_not_allowed")
            await self._serve(path[len(PATH) :], scope, send)
        except Error as error:
            await refuse(send, error, _METHODS, UNSEEN)
        except Exception as error:
            log.error("request failed", action="request_failed", path=PATH, exc_info=error)
            await refuse(send, unexpected_error(), _METHODS, UNSEEN)
        return True

    async def _serve(self, token: str, scope: HttpScope, send: Send) -> None:
        link = self._links.cached(token) or await self._links.find(token)
        if link is None or not (link.location or link.number == BAIT):
            await answer(send, 404, *_UNKNOWN)
            return
        now = now_us()
        if link.expires_at <= now:
            await answer(send, 410, *_EXPIRED)
            return
        visit = read_visit(scope, self._trusted)
        await wait_shortly(self._clicks.take(link, visit, now, os.urandom(8).hex()))
        if not link.location:
            await answer(send, 200, *_NOTHING)
            return
        await answer(send, 302, [(b"location", link.location), *_REDIRECT], b"")
