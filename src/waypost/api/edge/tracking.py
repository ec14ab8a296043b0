"""The route of short links as raw ASGI: redirect at once, and record the click."""

import asyncio
import base64
import hashlib
import os

import structlog

from waypost.api.edge.asgi import Headers, HttpScope, Receive, Send, answer, refuse
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
_REDIRECT: Headers = [(b"content-length", b"0"), *_COMMON, *SECURITY_HEADERS]


def _page(title: str, words: str) -> tuple[Headers, bytes]:
    body = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><h1>{title}</h1><p>{words}</p></body></html>"
    ).encode()
    security = [(name, value) for name, value in SECURITY_HEADERS if name != b"content-security-policy"]
    policy = b"default-src 'none'; style-src 'sha256-" + _STYLE_HASH + b"'; frame-ancestors 'none'"
    return [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        *_COMMON,
        *security,
        (b"content-security-policy", policy),
    ], body


_UNKNOWN = _page(
    "This link does not exist",
    "Please check that the address is complete: messages sometimes cut links off. "
    "If it is, ask whoever sent you the message.",
)
_EXPIRED = _page(
    "This link has expired",
    "The page that it led to is not linked any more. Please visit the website of whoever sent you the message.",
)


class ClickRoute:
    """Serves `GET` and `HEAD` of `/c/{token}`."""

    def __init__(self, engine: Engine) -> None:
        self._links = engine.links
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
            await refuse(send, error, _METHODS, _COMMON)
        except Exception as error:
            log.error("request failed", action="request_failed", path=PATH, exc_info=error)
            await refuse(send, unexpected_error(), _METHODS, _COMMON)
        return True

    async def _serve(self, token: str, scope: HttpScope, send: Send) -> None:
        key = to_key(token)
        link = None
        if key is not None:
            link = self._links.cached(key) or await self._links.find(key)
        if link is None or not link.location:
            await answer(send, 404, *_UNKNOWN)
            return
        now = now_us()
        if link.expires_at <= now:
            await answer(send, 410, *_EXPIRED)
            return
        await self._record(link, scope, now)
        await answer(send, 302, [(b"location", link.location), *_REDIRECT], b"")

    async def _record(self, link: StoredLink, scope: HttpScope, now: int) -> None:
        """Hand in the click; return when it is durable, or after a short while."""
        recorded = self._clicks.take(link, self._visit(scope), now, os.urandom(8).hex())
        if recorded is None:
            return
        timer = asyncio.get_running_loop().call_later(WAIT_S, _let_go, recorded)
        try:
            await recorded
        finally:
            timer.cancel()

    def _visit(self, scope: HttpScope) -> Visit:
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
            ip=client_address(client[0] if client else "", forwarded_for.decode("latin-1"), self._trusted),
            user_agent=_readable(user_agent[:LONGEST_USER_AGENT]),
            prefetch=prefetch,
        )


def _let_go(recorded: "asyncio.Future[None]") -> None:
    """End the wait for a click; it stays with the journal."""
    if not recorded.done():
        recorded.set_result(None)


def _readable(text: bytes) -> str:
    """Return the text of a header, without characters that cannot be seen."""
    decoded = text.decode("utf-8", "replace")
    if decoded.isprintable():
        return decoded
    return "".join(character for character in decoded if character.isprintable())
