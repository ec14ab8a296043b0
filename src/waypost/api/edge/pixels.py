"""The route of the pixels in emails as raw ASGI: always a picture, and an open recorded if the token is ours."""

import os

import structlog

from waypost.api.edge.asgi import Headers, HttpScope, Receive, Send, answer
from waypost.api.edge.visits import read_visit, wait_shortly
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


class PixelRoute:
    """Serves `/o/{token}`. Whatever is asked for, the answer is the picture: an error would show in the mail."""

    def __init__(self, engine: Engine) -> None:
        self._tracker = engine.tracker
        self._clicks = engine.clicks
        self._trusted = engine.trusted_proxies

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> bool:
        """Serve one request; return False, without a response, if the path is not that of a pixel."""
        if scope["type"] != "http" or not (path := scope["path"]).startswith(OPEN_PATH):
            return False
        try:
            await self._record(path[len(OPEN_PATH) :], scope)
        except Exception as error:
            log.error("request failed", action="request_failed", path=OPEN_PATH, exc_info=error)
        await answer(send, 200, _PICTURE, GIF)
        return True

    async def _record(self, token: str, scope: HttpScope) -> None:
        opened = self._tracker.tokens.read_open(token)
        if opened is not None and scope["method"] in ("GET", "HEAD"):
            visit = read_visit(scope, self._trusted)
            await wait_shortly(self._clicks.take_open(opened, visit, now_us(), os.urandom(8).hex()))
