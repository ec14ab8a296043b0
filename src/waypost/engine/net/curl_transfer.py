"""libcurl handles: one per request in progress, with the limits that untrusted URLs require."""

import os
import socket
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import certifi
import pycurl

from waypost import __version__
from waypost.domain.values.egress_guard import Networks, forbidden
from waypost.engine.net.request import ERRORS, KEPT_HEADERS, READ_BODY, Request, Response, is_status_line, read_headers

#: A connection that was idle for longer is not used for a request that must be sent at most once.
IDLE_BEFORE_ONCE_S = 20
USER_AGENT = f"Waypost/{__version__}"
#: libcurl's errors when the connection that it reused was dead, and so were those that it tried instead.
DIED = (pycurl.E_SEND_FAIL_REWIND, pycurl.E_SEND_ERROR)


class Kind(Enum):
    """The use of a handle, fixed when it is created."""

    MANY = "many"  #: Requests that may be sent more than once.
    ONCE = "once"  #: Requests that must be sent at most once.
    SOCKET = "socket"  #: Connections for protocols other than HTTP.

    # Each request looks lists up by it, and an enum hashes its name anew in Python every time.
    __hash__ = object.__hash__


class _Socket(socket.socket):
    """A socket whose descriptor libcurl duplicates; this one closes itself."""

    def __del__(self) -> None:
        self.close()


class Handle:
    """A reusable libcurl handle, and what it collects of the response in progress."""

    __slots__ = (
        "_again",
        "_allow",
        "_before_socket",
        "_body",
        "_heads",
        "_keep",
        "_kept",
        "_most",
        "_opened",
        "_proxy",
        "_read",
        "_refused",
        "_started_at",
        "_status_line",
        "_timeout_ms",
        "_unread",
        "_url",
        "connection",
        "curl",
        "done",
        "kind",
        "request",
    )

    def __init__(
        self, kind: Kind, allow: Networks, proxy: str, authorities: str, before_socket: Callable[[], None]
    ) -> None:
        self.kind = kind
        self.curl = pycurl.Curl()
        self.done: Callable[[Response], None] | None = None
        self.request: Request | None = None
        #: The connection that a handle of the kind SOCKET made.
        self.connection: socket.socket | None = None
        self._allow = allow
        self._proxy = proxy
        #: Called before each new connection.
        self._before_socket = before_socket
        #: The part of a ONCE request's body that libcurl has not read yet.
        self._unread = b""
        #: Whether this is the second try of a request, after a first try that sent nothing.
        self._again = False
        self._heads: list[bytes] = []
        #: The last status line; earlier ones may be those of a proxy or of interim responses.
        self._status_line = b""
        self._body: list[bytes] = []
        self._read = self._kept = 0
        self._keep = 0
        #: Bytes of the body to read before the connection is closed.
        self._most = READ_BODY
        self._refused: str | None = None
        self._opened = False
        self._started_at = 0.0
        #: The options that are set: most requests go to the same URL as the one before.
        self._url = ""
        self._timeout_ms = 0
        self._set_up(authorities)

    def _set_up(self, authorities: str) -> None:
        curl = self.curl
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.FOLLOWLOCATION, 0)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.USERAGENT, USER_AGENT)
        curl.setopt(pycurl.ACCEPT_ENCODING, "gzip, deflate")
        curl.setopt(pycurl.CAINFO, authorities)
        # Use only the proxy of the settings, for every request, and never that of the environment.
        curl.setopt(pycurl.PROXY, self._proxy)
        curl.setopt(pycurl.NOPROXY, "")
        curl.setopt(pycurl.HEADERFUNCTION, self._take_header)
        curl.setopt(pycurl.WRITEFUNCTION, self._take_body)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        if self.kind is Kind.ONCE:
            # libcurl repeats a request when a reused connection dies before the first byte of a response. It must
            # rewind the body for that, which this handle does not allow: it has no seek function.
            curl.setopt(pycurl.READFUNCTION, self._give_body)
            # One connection per request: libcurl would also repeat refused streams of HTTP/2.
            curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
            # The longer a connection is idle, the likelier its server closes it while a request is being sent.
            curl.setopt(pycurl.MAXAGE_CONN, IDLE_BEFORE_ONCE_S)
        elif self.kind is Kind.SOCKET:
            curl.setopt(pycurl.CONNECT_ONLY, 1)
            curl.setopt(pycurl.HTTPPROXYTUNNEL, 1)

    def start(self, request: Request, done: Callable[[Response], None]) -> pycurl.Curl:
        """Set the handle up for a request; return the curl object to add to libcurl."""
        curl = self.curl
        self.request, self.done = request, done
        self._clear()
        self._keep = request.keep
        self._most = request.read
        self._again = False
        self._started_at = time.monotonic()
        if request.url != self._url:
            self._url = ""
            curl.setopt(pycurl.URL, request.url)
            self._url = request.url
        if request.timeout_ms != self._timeout_ms:
            curl.setopt(pycurl.TIMEOUT_MS, request.timeout_ms)
            self._timeout_ms = request.timeout_ms
        if self.kind is Kind.ONCE:
            curl.setopt(pycurl.HTTPHEADER, [*request.headers, "Expect:"])
            curl.setopt(pycurl.POSTFIELDSIZE, len(request.body))
            # libcurl could repeat a request without a body, but only on a reused connection.
            curl.setopt(pycurl.FRESH_CONNECT, not request.body)
            self._unread = request.body
        else:
            curl.setopt(pycurl.HTTPHEADER, request.headers)
            curl.setopt(pycurl.POSTFIELDS, request.body)
        if request.method == "HEAD":
            # Unlike a request with this name only, it does not wait for the body that the headers announce.
            curl.setopt(pycurl.NOBODY, 1)
        elif request.method == "GET" and not request.body:
            # Without the headers of a body, which some servers refuse.
            curl.setopt(pycurl.HTTPGET, 1)
        elif request.method != "POST":
            curl.setopt(pycurl.CUSTOMREQUEST, request.method)
        return curl

    def start_again(self, request: Request) -> bool:
        """Set the handle up to send the same request on a new connection, if nothing was sent and time is left."""
        curl = self.curl
        left_ms = request.timeout_ms - int((time.monotonic() - self._started_at) * 1000)
        if self._again or curl.getinfo(pycurl.REQUEST_SIZE) or left_ms <= 0:
            return False
        self._clear()
        self._again = True
        self._unread = request.body
        curl.setopt(pycurl.FRESH_CONNECT, 1)
        curl.setopt(pycurl.TIMEOUT_MS, left_ms)
        self._timeout_ms = left_ms
        return True

    def read_response(self, failure: int | None, message: str) -> Response:
        """Return the response, or the error by libcurl's code and message."""
        curl = self.curl
        duration = int((time.monotonic() - self._started_at) * 1_000_000)
        seen = curl.getinfo(pycurl.RESPONSE_CODE) or None
        error = None
        sent = True
        if failure == pycurl.E_WRITE_ERROR and self._read > self._most:
            # The response is larger than the limit; its first part counts.
            failure = None
        if failure is None and seen is not None and not is_status_line(self._status_line):
            line = self._status_line[:60].decode("latin-1").rstrip()
            seen, error = None, f"not_http: the status of {line!r} is not a number of three digits"
        if failure is not None:
            if self._proxy and failure == pycurl.E_COULDNT_CONNECT:
                # The proxy cannot be reached, or it refused to connect to the target.
                failure = pycurl.E_COULDNT_RESOLVE_PROXY
            error = self._explain(failure, message)
            # The size includes the request for a proxy tunnel; the transfer begins only after it.
            sent = bool(curl.getinfo(pycurl.REQUEST_SIZE) > 0 and curl.getinfo(pycurl.PRETRANSFER_TIME) > 0)
        return Response(
            status=seen if failure is None else None,
            headers=read_headers(self._heads),
            body=self._body[0] if len(self._body) == 1 else b"".join(self._body),
            error=error,
            duration_us=duration,
            seen_status=seen,
            sent=sent,
        )

    def finish(self, request: Request) -> None:
        """Make the handle ready for another request."""
        self.done = self.request = self.connection = None
        self._unread = b""
        if request.method != "POST":
            self.curl.unsetopt(pycurl.CUSTOMREQUEST)
            if request.method in ("HEAD", "GET"):
                self.curl.setopt(pycurl.NOBODY, 0)
                self.curl.setopt(pycurl.POST, 1)
        if self._again:
            self.curl.setopt(pycurl.FRESH_CONNECT, 0)

    def _clear(self) -> None:
        self._heads, self._body = [], []
        self._status_line = b""
        self._read = self._kept = 0
        self._refused = None
        self._opened = False

    def _take_header(self, line: bytes) -> None:
        if line[:5] == b"HTTP/":
            # The headers of an earlier response, of a proxy or an interim one, do not count.
            self._status_line = line
            self._heads.clear()
        self._kept += len(line)
        if self._kept <= KEPT_HEADERS:
            self._heads.append(line)

    def _take_body(self, part: bytes) -> int:
        room = self._keep - self._read
        if room > 0:
            self._body.append(part[:room])
        self._read += len(part)
        # Any other value than the length makes libcurl stop.
        return len(part) if self._read <= self._most else -1

    def _give_body(self, room: int) -> bytes:
        part, self._unread = self._unread[:room], self._unread[room:]
        return part

    def _open_socket(self, _purpose: int, address: tuple[Any, ...]) -> socket.socket | int:
        # libcurl connects to this address; no second name look-up happens.
        family, kind, protocol, target = address
        if not self._proxy:
            reason = forbidden(target[0], self._allow) if isinstance(target, tuple) else "not an internet address"
            if reason is not None:
                self._refused = f"{target[0]} is a {reason}"
                return pycurl.SOCKET_BAD
        self._before_socket()
        self._opened = True
        return _Socket(family, kind, protocol)

    def _explain(self, failure: int, message: str) -> str:
        # If a name has a forbidden and an allowed address, the error of the allowed one counts.
        if self._refused is not None and not self._opened:
            return f"address_forbidden: {self._refused}, which outbound requests may not reach"
        if failure == pycurl.E_OPERATION_TIMEDOUT and self.request is not None:
            return f"timeout: no complete response within {self.request.timeout_ms / 1000:g} s"
        return f"{ERRORS.get(failure, f'curl_{failure}')}: {message}"


def find_authorities() -> str:
    """Return the file of certificate authorities: the operator's, the system's, or certifi's."""
    for name in (
        os.environ.get("SSL_CERT_FILE"),
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
    ):
        if name and Path(name).is_file():
            return name
    return certifi.where()
