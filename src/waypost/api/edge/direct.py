"""Requests that are served without ASGI: with a small body, no wait except for the commit, and a constant response.

ASGI takes a task, an event, a scope and four coroutines per request: a third of the cost of accepting one event. The
protocol calls a `DirectRoute` first. Requests that it does not take, and all errors, go through ASGI.
"""

import asyncio
from typing import Any, Protocol

from waypost.api.edge.asgi import App, Headers


class DirectRoute(Protocol):
    """A route that takes requests from the protocol, without ASGI."""

    #: Its paths, as in the request line, each with the `kind` for `take`.
    paths: dict[bytes, str]
    #: The largest body.
    most_bytes: int
    #: The headers and the body of the response to each request that it took.
    response: tuple[Headers, bytes]

    def take(self, kind: str, headers: Headers, body: bytes) -> "asyncio.Future[None] | None":
        """Take a POST; the response is sent when the future is done. Return None to leave the request to ASGI."""
        ...

    def refusal(self, error: BaseException) -> App:
        """Return the ASGI app that responds if the future has failed."""
        ...


class _NoEvent:
    """Replaces the event of a cycle that no coroutine waits for."""

    def set(self) -> None:
        """Do nothing."""


class DirectCycle:
    """One request and its response, with the attributes of uvicorn's RequestResponseCycle that the protocol uses."""

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

    message_event = _NoEvent()

    def __init__(self, kind: str, scope: Any, keep_alive: bool) -> None:
        self.kind = kind
        self.scope = scope
        self.keep_alive = keep_alive
        self.body = b""
        self.disconnected = self.response_started = self.response_complete = False
