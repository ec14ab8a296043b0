"""The route of the pixels in emails: always a picture, and an open recorded if the token is ours."""

import os

import structlog

from waypost.api.edge.asgi import Headers, HttpScope, Receive, Send
from waypost.api.edge.direct import DirectCycle, DirectResponse, FixedResponse
from waypost.api.edge.visits import WAIT_S, ShortWaits, read_visit
from waypost.api.problems import SECURITY_HEADERS
from waypost.clock import now_us
from waypost.domain.tracking.mail_tokens import OPEN_PATH
from waypost.engine.process import Engine

log = structlog.get_logger()

#: A transparent GIF of one pixel.
GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
_PICTURE: Headers = [
    (b"content-type", b"image/gif"),
    (b"content-length", b"%d" % len(GIF)),
    (b"cache-control", b"no-store, no-cache, must-revalidate, private, max-age=0"),
    (b"pragma", b"no-cache"),
    (b"expires", b"0"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex, nofollow"),
    *SECURITY_HEADERS,
    # Web mail shows the picture on its own pages.
    (b"cross-origin-resource-policy", b"cross-origin"),
]
_PIXEL = FixedResponse(200, _PICTURE, GIF)


class PixelRoute:
    """Serves `/o/{token}`. Whatever is asked for, the answer is the picture: an error would show in the mail."""

    paths = (OPEN_PATH.encode(),)
    methods = frozenset({b"GET", b"HEAD"})
    most_bytes = 0

    def __init__(self, engine: Engine) -> None:
        self._tracker = engine.tracker
        self._clicks = engine.clicks
        self._trusted = engine.trusted_proxies
        self._waits = ShortWaits(WAIT_S)
        self._closed = engine.closed

    def take(self, request: DirectCycle) -> DirectResponse | None:
        """Respond to a request, which needs nothing of the database; leave URLs with a query to ASGI."""
        if b"?" in request.url:
            return None
        token = request.url[len(OPEN_PATH) :].decode("latin-1")
        return self._respond(token, request.method.decode(), request.scope)

    def refusal(self, _error: BaseException) -> None:
        """Return None: whatever becomes of the open, the picture is sent."""

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> bool:
        """Serve one request; return False, without a response, if the path is not that of a pixel."""
        if scope["type"] != "http" or not (path := scope["path"]).startswith(OPEN_PATH):
            return False
        response = DirectResponse(_PIXEL)
        try:
            response = self._respond(path[len(OPEN_PATH) :], scope["method"], scope)
        except Exception as error:
            log.error("request failed", action="request_failed", path=OPEN_PATH, exc_info=error)
        await response.send(send)
        return True

    def _respond(self, token: str, method: str, scope: HttpScope) -> DirectResponse:
        """Hand in the open; return the picture, which waits until the open is durable, or for a short while."""
        opened = self._tracker.tokens.read_open(token)
        if opened is None or opened.workspace_id in self._closed or method not in ("GET", "HEAD"):
            return DirectResponse(_PIXEL)
        visit = read_visit(method, scope, self._trusted)
        recorded = self._clicks.take_open(opened, visit, now_us(), os.urandom(8).hex())
        if recorded is not None:
            self._waits.add(recorded)
        return DirectResponse(_PIXEL, after=recorded)
