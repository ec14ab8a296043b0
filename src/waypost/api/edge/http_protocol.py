"""The HTTP/1.1 protocol of the server: uvicorn's, with limits on size, time and number for untrusted clients."""

import asyncio
import ipaddress
import math
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from waypost.api.edge.asgi import App
from waypost.api.edge.direct import DirectCycle, DirectResponse, DirectRoute, DirectRoutes
from waypost.api.problems import problem
from waypost.errors import Error, Invalid, Unavailable


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one server allows its clients. Times are in seconds."""

    #: Bytes of the request line and the headers, and the number of headers.
    head_bytes: int = 64 * 1024
    headers: int = 100
    #: From the first byte of a request, or from the connection, to the end of the headers.
    head_s: float = 10
    #: A body may take this long, and a second more for every `body_rate` bytes of it.
    body_s: float = 30
    body_rate: int = 1024
    #: Between two requests.
    idle_s: float = 75
    #: A client that reads nothing of its response for this long is cut off.
    unread_s: float = 60
    #: A connection that is being closed gets this long to read the last response.
    close_s: float = 2
    #: Connections in all, and of one address (of one /64 network with IPv6).
    connections: int = 20_000
    per_address: int = 15_000


class ConnectionRegistry:
    """The open connections of a server. One timer checks all of them, so that a request costs no timer."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        #: The time of the last check: precise enough for deadlines, and free to read.
        self.now = 0.0
        self._open: set[LimitedProtocol] = set()
        self._addresses: Counter[str | bytes] = Counter()
        self._every_s = min(1.0, limits.head_s / 4, limits.body_s / 4, limits.idle_s / 4, limits.close_s / 2)

    def add(self, connection: "LimitedProtocol") -> str | None:
        """Add a connection; return the reason if it must be refused."""
        if not self._open:
            self.now = connection.loop.time()
            connection.loop.call_later(self._every_s, self._check, connection.loop)
        self._open.add(connection)
        self._addresses[connection.address] += 1
        if len(self._open) > self.limits.connections:
            return "The server has reached its limit of connections. Retry later."
        if self._addresses[connection.address] > self.limits.per_address:
            return "Your IP address has reached its limit of connections. Close some, or retry later."
        return None

    def remove(self, connection: "LimitedProtocol") -> None:
        """Remove a closed connection."""
        if connection in self._open:
            self._open.remove(connection)
            self._addresses[connection.address] -= 1
            if self._addresses[connection.address] <= 0:
                del self._addresses[connection.address]

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = now = loop.time()
        for connection in [one for one in self._open if one.deadline <= now or one.unread_deadline <= now]:
            connection.expire()
        if self._open:
            loop.call_later(self._every_s, self._check, loop)


class _Refused(Exception):
    """Raised inside the parser; the response is sent when the parser passes it on."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection. `limited` returns the subclass for a server."""

    group: ConnectionRegistry
    direct: DirectRoutes

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.address: str | bytes = ""
        #: When the client must have sent the awaited data; infinite while the server processes a request.
        self.deadline = math.inf
        self.unread_deadline = math.inf
        #: Whether a request is being received, and whether its headers are still incomplete.
        self._receiving = self._in_head = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._body_began = 0.0
        self._error: Error | None = None
        #: Whether further data from the client is ignored.
        self._ignoring = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Add the connection to the registry; refuse it if there are too many."""
        super().connection_made(transport)
        self.address = _network(self.client[0]) if self.client else ""
        reason = self.group.add(self)
        self.deadline = self.group.now + self.group.limits.head_s
        if reason is not None:
            self._ignoring = True
            self._write(Unavailable(reason, code="connection_limit"))
            transport.close()
            self.deadline = self.group.now + self.group.limits.close_s

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection from the registry."""
        self.group.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse received data while the headers are within the limits."""
        if self._ignoring:
            return
        if not self._receiving:
            self._head_bytes = len(data)
        elif self._in_head:
            self._head_bytes += len(data)
        HttpToolsProtocol.data_received(self, data)
        limits = self.group.limits
        if self._in_head and (len(self.headers) > limits.headers or self._head_bytes > limits.head_bytes):
            self._refuse(_head_too_large(limits))

    def eof_received(self) -> bool:  # type: ignore[override]
        """Respond to a client that closes its side after a complete request; otherwise close the connection."""
        cycle: RequestResponseCycle | None = self.cycle
        if self._ignoring or self._receiving or cycle is None or cycle.response_complete:
            return False
        cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        """Start the time limit for a client that does not read."""
        self.unread_deadline = self.group.now + self.group.limits.unread_s
        super().pause_writing()

    def resume_writing(self) -> None:
        """Stop the time limit for a client that reads again."""
        self.unread_deadline = math.inf
        super().resume_writing()

    def on_message_begin(self) -> None:
        """Start the time limit for the headers."""
        self._receiving = self._in_head = True
        self.deadline = self.group.now + self.group.limits.head_s
        HttpToolsProtocol.on_message_begin(self)

    def on_headers_complete(self) -> None:
        """Check the complete headers, and start the time limit for the body."""
        limits = self.group.limits
        # The received data may include a part of the body: measure the headers alone.
        if len(self.headers) > limits.headers or (self._head_bytes > limits.head_bytes < self._measure_head()):
            self._fail(_head_too_large(limits))
        hosts = 0
        for name, _ in self.headers:
            if name == b"host":
                hosts += 1
        if hosts != 1 and (hosts or self.parser.get_http_version() != "1.0"):
            self._fail(Invalid("A request must have exactly one Host header.", code="invalid_host"))
        self._in_head = False
        self._body_bytes = 0
        self._body_began = self.group.now
        self.deadline = self.group.now + self.group.limits.body_s
        route = self.direct.find(self.url)
        if route is None or not self._begin_direct(route):
            HttpToolsProtocol.on_headers_complete(self)

    def on_body(self, body: bytes) -> None:
        """Extend the time limit of the body in proportion to the received bytes."""
        self._body_bytes += len(body)
        limits = self.group.limits
        self.deadline = self._body_began + limits.body_s + self._body_bytes / limits.body_rate
        HttpToolsProtocol.on_body(self, body)

    def on_message_complete(self) -> None:
        """Stop the time limit: the request is complete, and the server processes it."""
        self._receiving = False
        self._head_bytes = 0
        cycle: RequestResponseCycle | DirectCycle = self.cycle
        self.deadline = self.group.now + self.group.limits.idle_s if cycle.response_complete else math.inf
        if isinstance(cycle, DirectCycle):
            self._take_direct(cycle)
        else:
            HttpToolsProtocol.on_message_complete(self)

    def on_response_complete(self) -> None:
        """Start the time until the next request, or the next request of the pipeline."""
        limits = self.group.limits
        if self.transport.is_closing() or self._receiving:
            # The response was sent before the whole body arrived: the rest must arrive soon.
            self.deadline = self.group.now + limits.close_s
        elif not self.pipeline:
            self.deadline = self.group.now + limits.idle_s
        # As uvicorn does it, but without a timer for each request: the deadline is checked for all connections.
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        """Respond to a request that the parser, or a check within it, has refused."""
        error = self._error or Invalid("The request is not valid HTTP/1.1.", code="invalid_http")
        self._refuse(error)

    def expire(self) -> None:
        """Close a connection whose client exceeded a time limit."""
        group = self.group
        if self.unread_deadline <= group.now or self._ignoring or self.transport.is_closing():
            self.transport.abort()
        elif self.flow.read_paused:
            # The server has paused reading: the client cannot continue.
            self.deadline = group.now + group.limits.body_s
            self._body_began, self._body_bytes = group.now, 0
        elif self._receiving:
            self._refuse(
                Invalid("The request did not arrive within the time limit. Send it again.", code="request_timeout")
            )
        else:
            self.transport.close()
            self.deadline = group.now + group.limits.close_s

    def _begin_direct(self, route: DirectRoute) -> bool:
        """Start a request without ASGI if its headers allow it; return whether they do."""
        if self.expect_100_continue or self.flow.write_paused:
            return False
        earlier: RequestResponseCycle | None = self.cycle
        if earlier is not None and not earlier.response_complete:
            return False
        parser = self.parser
        method = parser.get_method()
        if method not in route.methods or parser.get_http_version() != "1.1" or parser.should_upgrade():
            return False
        for name, value in self.headers:
            if name == b"content-length":
                if int(value) > route.most_bytes:
                    return False
            elif name in _NOT_DIRECT:
                return False
        self.cycle = DirectCycle(route, method, self.url, self.scope, parser.should_keep_alive())  # type: ignore[assignment]
        return True

    def _take_direct(self, cycle: DirectCycle) -> None:
        """Pass a complete request to its route, or to ASGI if the route does not take it."""
        if cycle.disconnected:
            return
        try:
            response = cycle.route.take(cycle)
        except Exception:
            # ASGI gets the same request, and sends the error.
            response = None
        if response is None:
            self._take_by_asgi(cycle)
        elif response.after is None:
            self._send_direct(cycle, response)
        else:
            response.after.add_done_callback(partial(self._answer_direct, cycle, response))

    def _take_by_asgi(self, cycle: DirectCycle) -> None:
        """Start a request again, of which nothing was answered yet."""
        cycle.response_complete = True
        HttpToolsProtocol.on_headers_complete(self)
        if not cycle.keep_alive:
            self.cycle.keep_alive = False
        HttpToolsProtocol.on_body(self, cycle.body)
        HttpToolsProtocol.on_message_complete(self)

    def _answer_direct(self, cycle: DirectCycle, response: DirectResponse, after: "asyncio.Future[None]") -> None:
        """Send a response that had to wait."""
        if cycle.disconnected:
            return
        if after.cancelled() or after.exception() is not None:
            error = (None if after.cancelled() else after.exception()) or asyncio.CancelledError()
            app = cycle.route.refusal(error)
            if app is not None:
                self._refuse_direct(cycle, app)
                return
        self._send_direct(cycle, response)

    def _send_direct(self, cycle: DirectCycle, response: DirectResponse) -> None:
        server = self.server_state.default_headers
        self.transport.write(response.render(server, keep_alive=cycle.keep_alive, body=cycle.method != b"HEAD"))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _refuse_direct(self, cycle: DirectCycle, app: App) -> None:
        """Let ASGI respond to a request that a route took and could not store."""
        scope = cycle.scope | {"method": cycle.method.decode(), "path": "", "raw_path": b"", "query_string": b""}
        again = RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=cycle.keep_alive,
            on_response=self.on_response_complete,
        )
        again.more_body = False
        newest: RequestResponseCycle | DirectCycle = self.cycle
        if newest is cycle:
            self.cycle = again
        self._start_asgi_task(again, app)  # type: ignore[arg-type]

    def _measure_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _fail(self, error: Error) -> None:
        self._error = error
        raise _Refused

    def _refuse(self, error: Error) -> None:
        """Send an error and close the connection, without losing the response to a request in progress."""
        if self._ignoring or self.transport.is_closing():
            return
        self._ignoring = True
        cycle: RequestResponseCycle | None = self.cycle
        in_body = self._receiving and not self._in_head
        if cycle is not None and not cycle.response_complete:
            if not in_body:
                # An earlier request is being processed: its response must be sent first.
                cycle.keep_alive = False
                self.deadline = math.inf
                return
            started = cycle.response_started or bool(self.pipeline)
            cycle.disconnected = True
            cycle.message_event.set()
            if started:
                self.transport.abort()
                return
        if cycle is None or not in_body or not cycle.response_complete:
            self._write(error)
        self.deadline = self.group.now + self.group.limits.close_s
        # Closing with unread data would reset the connection, and the client would lose the response.
        self.transport.write_eof()

    def _write(self, error: Error) -> None:
        status, headers, body = problem(error)
        content = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers, *_HEADERS):
            content += (name, b": ", value, b"\r\n")
        self.transport.write(b"".join((*content, b"\r\n", body)))


#: Headers of requests that ASGI sees.
_NOT_DIRECT = frozenset({b"content-encoding", b"transfer-encoding"})
_HEADERS = (
    (b"connection", b"close"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


def limited(limits: Limits, direct: DirectRoutes) -> type[LimitedProtocol]:
    """Return the protocol of one server with these limits; `direct` has the routes that need no ASGI."""
    return type("ServerProtocol", (LimitedProtocol,), {"group": ConnectionRegistry(limits), "direct": direct})


def _head_too_large(limits: Limits) -> Invalid:
    return Invalid(
        f"The headers exceed the limit of {limits.headers} headers, or of {limits.head_bytes} bytes including "
        "the URL. Send fewer or shorter headers.",
        code="head_too_large",
    )


def _network(host: str) -> str | bytes:
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    return str(address.ipv4_mapped) if address.ipv4_mapped else address.packed[:8]
