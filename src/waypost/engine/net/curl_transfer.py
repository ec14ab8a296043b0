"""libcurl's handles: one for each request under way, set up with every limit that strangers make necessary."""

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

#: A connection that was idle for longer is not used for a request that must not be sent twice.
IDLE_BEFORE_ONCE_S = 20
USER_AGENT = f"Waypost/{__version__}"
#: What libcurl says when the connection that it took was dead, and so were those that it took instead.
DIED = (pycurl.E_SEND_FAIL_REWIND, pycurl.E_SEND_ERROR)


class Kind(Enum):
    """What a handle is for; it is set up for that once and for all."""

    MANY = "many"  #: Requests that may arrive more than once.
    ONCE = "once"  #: Requests that may not.
    SOCKET = "socket"  #: Connections for those who speak something else than HTTP.

    # Each request looks lists up by it, and an enum hashes its name anew in Python every time.
    __hash__ = object.__hash__


class _Socket(socket.socket):
    """A socket that libcurl makes a descriptor of its own from: this one is closed without anybody asking."""

    def __del__(self) -> None:
        self.close()


class Handle:
    """A reusable libcurl handle and what the call that it is busy with gathers."""

    __slots__ = (
        "_again",
        "_allow",
        "_before_socket",
        "_body",
        "_heads",
        "_keep",
        "_kept",
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
        #: What a handle of the kind SOCKET has made.
        self.connection: socket.socket | None = None
        self._allow = allow
        self._proxy = proxy
        #: Called before each new connection.
        self._before_socket = before_socket
        #: What libcurl has still to fetch of the body of a request that may be sent once.
        self._unread = b""
        #: Whether this is the second try of a request, nothing of the first having been sent.
        self._again = False
        self._heads: list[bytes] = []
        #: The last one; before it there may be those of a proxy or of interim answers.
        self._status_line = b""
        self._body: list[bytes] = []
        self._read = self._kept = 0
        self._keep = 0
        self._refused: str | None = None
        self._opened = False
        self._started_at = 0.0
        #: What libcurl was told last: most requests go where the one before went.
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
        # Never the proxy of the environment: only the one of the settings, and then for everything.
        curl.setopt(pycurl.PROXY, self._proxy)
        curl.setopt(pycurl.NOPROXY, "")
        curl.setopt(pycurl.HEADERFUNCTION, self._take_header)
        curl.setopt(pycurl.WRITEFUNCTION, self._take_body)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        if self.kind is Kind.ONCE:
            # libcurl repeats a request by itself when a connection that was used before dies without a byte of an
            # answer. It has to ask for the body again then, which nobody offers here: there is no function to seek.
            curl.setopt(pycurl.READFUNCTION, self._give_body)
            # A connection for each request under way: refused streams of HTTP/2 would be repeated as well.
            curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
            # The longer it is idle, the likelier its server closes it just as a request is on its way.
            curl.setopt(pycurl.MAXAGE_CONN, IDLE_BEFORE_ONCE_S)
        elif self.kind is Kind.SOCKET:
            curl.setopt(pycurl.CONNECT_ONLY, 1)
            curl.setopt(pycurl.HTTPPROXYTUNNEL, 1)

    def start(self, request: Request, done: Callable[[Response], None]) -> pycurl.Curl:
        """Take a request on; what is given back has to be handed to libcurl."""
        curl = self.curl
        self.request, self.done = request, done
        self._clear()
        self._keep = request.keep
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
            # What has no body can be repeated without asking for it again. Only on a connection that was used before.
            curl.setopt(pycurl.FRESH_CONNECT, not request.body)
            self._unread = request.body
        else:
            curl.setopt(pycurl.HTTPHEADER, request.headers)
            curl.setopt(pycurl.POSTFIELDS, request.body)
        if request.method != "POST":
            curl.setopt(pycurl.CUSTOMREQUEST, request.method)
        return curl

    def start_again(self, request: Request) -> bool:
        """Take the same request on for a new connection, where nothing of it was written and there is time left."""
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
        """What came of the request, by libcurl's error and its words for it."""
        curl = self.curl
        duration = int((time.monotonic() - self._started_at) * 1_000_000)
        seen = curl.getinfo(pycurl.RESPONSE_CODE) or None
        error = None
        sent = True
        if failure == pycurl.E_WRITE_ERROR and self._read > READ_BODY:
            # It said more than anybody will read. What it said first counts.
            failure = None
        if failure is None and seen is not None and not is_status_line(self._status_line):
            line = self._status_line[:60].decode("latin-1").rstrip()
            seen, error = None, f"not_http: the status of {line!r} is not a number of three digits"
        if failure is not None:
            if self._proxy and failure == pycurl.E_COULDNT_CONNECT:
                # The proxy is all that is ever connected to, or it refused to connect any further.
                failure = pycurl.E_COULDNT_RESOLVE_PROXY
            error = self._explain(failure, message)
            # The size counts what a proxy was asked in order to make a tunnel, too; but a transfer begins after that.
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
            self._status_line = line
        self._kept += len(line)
        if self._kept <= KEPT_HEADERS:
            self._heads.append(line)

    def _take_body(self, part: bytes) -> int:
        room = self._keep - self._read
        if room > 0:
            self._body.append(part[:room])
        self._read += len(part)
        # Anything but the length tells libcurl to stop.
        return len(part) if self._read <= READ_BODY else -1

    def _give_body(self, room: int) -> bytes:
        part, self._unread = self._unread[:room], self._unread[room:]
        return part

    def _open_socket(self, _purpose: int, address: tuple[Any, ...]) -> socket.socket | int:
        # The address here is the one that the connection is made to: nothing is looked up a second time.
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
        # A name may have an address that is refused and another one that is not: then that one tells what happened.
        if self._refused is not None and not self._opened:
            return f"address_forbidden: {self._refused}, which may not be reached from here"
        if failure == pycurl.E_OPERATION_TIMEDOUT and self.request is not None:
            return f"timeout: no whole answer within {self.request.timeout_ms / 1000:g} s"
        return f"{ERRORS.get(failure, f'curl_{failure}')}: {message}"


def find_authorities() -> str:
    """The file of certificate authorities: the operator's, the system's, or the one that comes with certifi."""
    for name in (
        os.environ.get("SSL_CERT_FILE"),
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
    ):
        if name and Path(name).is_file():
            return name
    return certifi.where()
