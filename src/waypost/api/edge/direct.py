"""Requests that are answered without ASGI: a small body, no waiting but for the commit, one response known beforehand.

ASGI costs a task, an event, a scope and four coroutines a request, a third of what it costs to take in one event. The
protocol asks a `DirectRoute` first; whatever that does not take goes through ASGI, and so do all errors.
"""

import asyncio
from typing import Any, Protocol

from waypost.api.edge.asgi import App, Headers


class DirectRoute(Protocol):
    """What takes requests from the protocol directly."""

    #: The paths that it takes, as they stand in the request line, each with the name that `take` is given.
    paths: dict[bytes, str]
    #: The largest body.
    most_bytes: int
    #: The response to all that was taken: its headers and its body.
    response: tuple[Headers, bytes]

    def take(self, kind: str, headers: Headers, body: bytes) -> "asyncio.Future[None] | None":
        """Take a POST; the future is done when it may be answered. None leaves the request to the ASGI app."""
        ...

    def refusal(self, error: BaseException) -> App:
        """The ASGI app that answers when the future has failed."""
        ...


class _Unwatched:
    """Stands for the event of a cycle that nobody waits for."""

    def set(self) -> None:
        """Nobody waits."""


class DirectCycle:
    """One request and its response; the protocol sees it as it sees uvicorn's RequestResponseCycle."""

    __slots__ = (
        "body",
        "disconnected",
        "keep_alive",
        "kind",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
    )

    message_event = _Unwatched()

    def __init__(self, kind: str, scope: Any, keep_alive: bool) -> None:
        self.kind = kind
        self.scope = scope
        self.keep_alive = keep_alive
        self.body = b""
        self.disconnected = self.response_started = self.response_complete = False
