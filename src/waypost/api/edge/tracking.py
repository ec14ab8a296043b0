"""The route of short links: redirect at once, and record the click."""

import asyncio
import base64
import hashlib
import os
from collections import deque

import structlog

from waypost.api.edge.asgi import Headers, HttpScope, Receive, Send, refuse
from waypost.api.edge.direct import DirectCycle, DirectResponse, FixedResponse
from waypost.api.problems import SECURITY_HEADERS, unexpected_error
from waypost.clock import now_us
from waypost.domain.tracking.clicks import LONGEST_USER_AGENT, PREFETCH_HEADERS, Visit, is_prefetch
from waypost.domain.tracking.tokens import PATH, to_key
from waypost.domain.values.address_ranges import client_address
from waypost.engine.process import Engine
from waypost.engine.tracking.links import StoredLink
from waypost.errors import Error, Invalid

log = structlog.get_logger()

#: Seconds that a redirect waits for the commit of its click. A slow store must not hold people up.
WAIT_S = 0.05
_METHODS = b"GET, HEAD"
_STYLE = (
    "body{font:1.1em/1.5 system-ui,sans-serif;max-width:32em;margin:15vh auto;padding:0 1.5em;color:#222}"
    "h1{font-size:1.4em}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest())
#: Of every answer: nothing is cached, listed by search engines, or told to the page behind the link.
_COMMON: Headers = [
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex, nofollow"),
]
_REDIRECT = FixedResponse(302, [(b"content-length", b"0"), *_COMMON, *SECURITY_HEADERS])


def _page(status: int, title: str, words: str) -> FixedResponse:
    body = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><h1>{title}</h1><p>{words}</p></body></html>"
    ).encode()
    security = [(name, value) for name, value in SECURITY_HEADERS if name != b"content-security-policy"]
    policy = b"default-src 'none'; style-src 'sha256-" + _STYLE_HASH + b"'; frame-ancestors 'none'"
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        *_COMMON,
        *security,
        (b"content-security-policy", policy),
    ]
    return FixedResponse(status, headers, body)


_UNKNOWN = _page(
    404,
    "This link does not exist",
    "Please check that the address is complete: messages sometimes cut links off. "
    "If it is, ask whoever sent you the message.",
)
_EXPIRED = _page(
    410,
    "This link has expired",
    "The page that it led to is not linked any more. Please visit the website of whoever sent you the message.",
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


class ClickRoute:
    """Serves `GET` and `HEAD` of `/c/{token}`: without ASGI if the link is in memory."""

    paths = (PATH.encode(),)
    methods = frozenset({b"GET", b"HEAD"})
    most_bytes = 0

    def __init__(self, engine: Engine) -> None:
        self._links = engine.links
        self._clicks = engine.clicks
        self._trusted = engine.trusted_proxies
        self._waits = ShortWaits(WAIT_S)

    def take(self, request: DirectCycle) -> DirectResponse | None:
        """Respond to a request whose link is in memory; leave others, and URLs with a query, to ASGI."""
        key = to_key(request.url[len(PATH) :].decode("latin-1"))
        link = None if key is None else self._links.cached(key)
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
            key = to_key(path[len(PATH) :])
            link = None if key is None else await self._links.find(key)
            await self._respond(link, scope["method"], scope).send(send)
        except Error as error:
            await refuse(send, error, _METHODS, _COMMON)
        except Exception as error:
            log.error("request failed", action="request_failed", path=PATH, exc_info=error)
            await refuse(send, unexpected_error(), _METHODS, _COMMON)
        return True

    def _respond(self, link: StoredLink | None, method: str, scope: HttpScope) -> DirectResponse:
        """Hand in the click; return the redirect, which waits until the click is durable, or for a short while."""
        if link is None or not link.location:
            return DirectResponse(_UNKNOWN)
        now = now_us()
        if link.expires_at <= now:
            return DirectResponse(_EXPIRED)
        visit = self._visit(method, scope)
        recorded = self._clicks.take(link, visit, now, os.urandom(8).hex())
        if recorded is not None:
            self._waits.add(recorded)
        return DirectResponse(_REDIRECT, [(b"location", link.location)], recorded)

    def _visit(self, method: str, scope: HttpScope) -> Visit:
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
            ip=client_address(client[0] if client else "", forwarded_for.decode("latin-1"), self._trusted),
            user_agent=_readable(user_agent[:LONGEST_USER_AGENT]),
            prefetch=prefetch,
        )


def _readable(text: bytes) -> str:
    """Return the text of a header, without characters that cannot be seen."""
    decoded = text.decode("utf-8", "replace")
    if decoded.isprintable():
        return decoded
    return "".join(character for character in decoded if character.isprintable())
