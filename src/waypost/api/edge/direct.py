"""Requests that are served without ASGI: with a small body or none, and no wait except for a commit.

ASGI takes a task, an event, a scope and four coroutines per request: a third of the cost of accepting one event. The
protocol calls a `DirectRoute` first. Requests that it does not take, and all errors, go through ASGI.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from waypost.api.edge.asgi import App, Headers, Send, answer


class FixedResponse:
    """A response that is the same for many requests, except for headers such as Location. Its head is rendered once."""

    __slots__ = ("_head", "_lines", "_server", "body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self._lines = b"".join(map(header_line, headers))
        #: The headers of the server, with the date, and the head that was rendered with them.
        self._server: Headers | None = None
        self._head = b""

    def head(self, server: Headers) -> bytes:
        """Return the status line and the headers, after those of the server, without the empty line that ends them."""
        if self._server is not server:
            # uvicorn makes a new list every second, with the date.
            self._head = STATUS_LINE[self.status] + b"".join(map(header_line, server)) + self._lines
            self._server = server
        return self._head


class DirectResponse(msgspec.Struct):
    """What a route responds to one request."""

    fixed: FixedResponse
    #: Headers of this request alone.
    more: Headers = []
    #: The response is sent when this is done; at once if it is None.
    after: "asyncio.Future[None] | None" = None

    async def send(self, send: Send) -> None:
        """Send it through ASGI, when it may be sent."""
        if self.after is not None:
            await self.after
        await answer(send, self.fixed.status, [*self.fixed.headers, *self.more], self.fixed.body)

    def render(self, server: Headers, *, keep_alive: bool, body: bool) -> bytes:
        """Return its bytes, with the headers of the server, and without a body in response to a HEAD."""
        parts = [self.fixed.head(server), *map(header_line, self.more)]
        parts.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
        if body:
            parts.append(self.fixed.body)
        return b"".join(parts)


def header_line(header: tuple[bytes, bytes]) -> bytes:
    """Return a header as the line of a head."""
    return b"%b: %b\r\n" % header


class DirectRoute(Protocol):
    """A route that takes requests from the protocol, without ASGI."""

    @property
    def paths(self) -> Iterable[bytes]:
        """Return its paths, as in the request line. One that ends with a slash stands for all one level below it."""
        ...

    methods: frozenset[bytes]
    #: The largest body. A request without a length has none.
    most_bytes: int

    def take(self, request: "DirectCycle") -> DirectResponse | None:
        """Take a request; return None, or raise an error, to leave it to ASGI as if it had just arrived."""
        ...

    def refusal(self, error: BaseException) -> App | None:
        """Return the ASGI app that responds if what the response waits for has failed; None to respond all the same."""
        ...


class DirectRoutes:
    """The direct routes of a server, by path."""

    def __init__(self, routes: Iterable[DirectRoute]) -> None:
        self._routes = {path: route for route in routes for path in route.paths}

    def find(self, url: bytes) -> DirectRoute | None:
        """Return the route for the URL of a request line, or None."""
        return self._routes.get(url) or self._routes.get(url[: url.rfind(b"/") + 1])


class _NoEvent:
    """Replaces the event of a cycle that no coroutine waits for."""

    def set(self) -> None:
        """Do nothing."""


class DirectCycle:
    """One request and its response, with the attributes of uvicorn's RequestResponseCycle that the protocol uses."""

    __slots__ = (
        "body",
        "disconnected",
        "headers",
        "keep_alive",
        "method",
        "more_body",
        "response_complete",
        "response_started",
        "route",
        "scope",
        "url",
    )

    message_event = _NoEvent()

    def __init__(self, route: DirectRoute, method: bytes, url: bytes, scope: Any, keep_alive: bool) -> None:
        self.route = route
        self.method = method
        self.url = url
        self.scope = scope
        self.headers: Headers = scope["headers"]
        self.keep_alive = keep_alive
        self.body = b""
        self.disconnected = self.response_started = self.response_complete = False
