"""`GET /v1/stream`: server-sent events that tell an open page what has changed, as raw ASGI."""

import asyncio
import contextlib
import random
from urllib.parse import parse_qs

import msgspec

from waypost.api.control.admission import WORKSPACE_HEADER, Admitted, admit
from waypost.api.edge.asgi import HttpScope, Receive, Send, refuse
from waypost.api.problems import SECURITY_HEADERS
from waypost.clock import now_us
from waypost.engine.accounts.workspaces import Keyring
from waypost.engine.insights.live_feeds import PAUSE_S, Feed
from waypost.engine.process import Engine
from waypost.errors import Error, Invalid

PATH = "/v1/stream"
#: Proxies close connections that are silent for longer; it is also how often the right to look is checked again.
HEARTBEAT_S = 15.0
_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    # nginx would hold the events back.
    (b"x-accel-buffering", b"no"),
    *SECURITY_HEADERS,
]


class StreamRoute:
    """Serves the stream: `event: changed` with the topics `events`, `deliveries` and `settings`."""

    def __init__(self, engine: Engine, keyring: Keyring) -> None:
        self._engine = engine
        self._keyring = keyring

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> bool:
        """Serve one request; return False, without a response, if it is for another path."""
        if scope["type"] != "http" or scope["path"] != PATH:
            return False
        try:
            if scope["method"] != "GET":
                raise Invalid("This path supports only GET.", code="method_not_allowed")
            admitted = await self._admit(scope)
        except Error as error:
            await refuse(send, error, b"GET")
            return True
        workspace_id = admitted.caller.workspace_id
        feed = self._engine.live_feeds.open(workspace_id)
        gone = asyncio.create_task(_gone(receive, feed))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": b"retry: 2000\n\n", "more_body": True})
            await self._follow(scope, feed, send)
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._engine.live_feeds.leave(workspace_id, feed)
            gone.cancel()
        return True

    async def _follow(self, scope: HttpScope, feed: Feed, send: Send) -> None:
        """Send what changes until the client is gone, the process stops, or the caller may no longer look."""
        checked = asyncio.get_running_loop().time()
        while True:
            topics = await feed.wait(HEARTBEAT_S)
            # All pages of a workspace learn of a change at the same moment: of many, one is told after another.
            await _pass(random.uniform(0, self._engine.live_feeds.spread_s), feed)  # noqa: S311 no secret
            if feed.ended.is_set():
                return
            if topics:
                piece = b"event: changed\ndata: %b\n\n" % msgspec.json.encode({"topics": sorted(topics)})
            else:
                piece = b": still here\n\n"
            if asyncio.get_running_loop().time() - checked >= HEARTBEAT_S:
                checked = asyncio.get_running_loop().time()
                try:
                    await self._admit(scope)
                except Error:
                    return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await _pass(PAUSE_S, feed)

    async def _admit(self, scope: HttpScope) -> Admitted:
        # Browsers cannot give a header to an event source.
        chosen = parse_qs(scope["query_string"].decode("latin-1")).get("workspace", [])
        headers = [*scope["headers"], *((WORKSPACE_HEADER.encode(), one.encode()) for one in chosen[:1])]
        admitted = await admit(self._engine, self._keyring, {**scope, "headers": headers})
        admitted.require("events.read", now_us())
        return admitted


async def _pass(seconds: float, feed: Feed) -> None:
    """Let so much time pass, or less if the feed ends."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await feed.ended.wait()


async def _gone(receive: Receive, feed: Feed) -> None:
    """End the feed when the client closes the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
    feed.close()
