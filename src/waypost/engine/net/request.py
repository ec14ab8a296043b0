"""Outbound requests and responses as values, and names for libcurl's errors."""

import re
from functools import lru_cache

import msgspec
import pycurl

from waypost.domain.webhooks.delivery import KEPT_BODY

#: Decompressed bytes of a response that are read; then the connection is closed and the status counts.
READ_BODY = 256 * 1024
#: Bytes of response headers that are kept.
KEPT_HEADERS = 16 * 1024

#: The error code for each error of libcurl, put in front of its message.
ERRORS = {
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_COULDNT_RESOLVE_HOST: "dns",
    pycurl.E_COULDNT_RESOLVE_PROXY: "proxy",
    pycurl.E_COULDNT_CONNECT: "connect",
    pycurl.E_SSL_CONNECT_ERROR: "tls",
    pycurl.E_PEER_FAILED_VERIFICATION: "tls",
    pycurl.E_GOT_NOTHING: "empty_answer",
    pycurl.E_RECV_ERROR: "connection_lost",
    pycurl.E_SEND_ERROR: "connection_lost",
    pycurl.E_PARTIAL_FILE: "connection_lost",
    # A request would have to be sent again, and may be sent only once.
    pycurl.E_SEND_FAIL_REWIND: "connection_lost",
    pycurl.E_FTP_WEIRD_SERVER_REPLY: "not_http",
    pycurl.E_UNSUPPORTED_PROTOCOL: "not_http",
    pycurl.E_BAD_CONTENT_ENCODING: "bad_encoding",
}
_STATUS_LINE = re.compile(rb"HTTP/[0-9](?:\.[0-9])? +[1-9][0-9]{2}(?: [^\r\n]*)?\r?\n")
_PHASES = (
    ("dns", pycurl.NAMELOOKUP_TIME),
    ("connect", pycurl.CONNECT_TIME),
    ("tls", pycurl.APPCONNECT_TIME),
    ("sent", pycurl.PRETRANSFER_TIME),
    ("first_byte", pycurl.STARTTRANSFER_TIME),
    ("total", pycurl.TOTAL_TIME),
)


class Envelope(msgspec.Struct, frozen=True):
    """The envelope of an email, and login and TLS for its server; the server is in `Request.url`."""

    #: The address that bounces go to; "" for none.
    sender: str
    #: Either all of them get the mail, or none does.
    recipients: tuple[str, ...]
    username: str = ""
    password: str = ""
    #: none, opportunistic (TLS if the server has it) or required. An `smtps://` URL means TLS from the start.
    tls: str = "required"


class Request(msgspec.Struct):
    """An outbound request: by HTTP, or a mail by SMTP."""

    #: http, https; for mails smtp or smtps, with host and port and nothing else.
    url: str
    #: For a mail, all of it (RFC 5322), in lines that end in CRLF.
    body: bytes
    headers: list[str]
    #: For the whole request, from the name look-up to the last byte of the response.
    timeout_ms: int
    method: str = "POST"
    #: Bytes of the response's body to keep, up to `READ_BODY`.
    keep: int = KEPT_BODY
    #: Decompressed bytes of the response's body to read, up to `READ_BODY`; then the connection is closed, and the
    #: status counts. With 0 the first byte of the body ends the response.
    read: int = READ_BODY
    #: Whether the request must be sent at most once. Otherwise libcurl repeats it when a reused connection turns out to
    #: be dead before the first byte of the response.
    once: bool = False
    #: Set for a mail; method, headers, keep and once are not used then.
    envelope: Envelope | None = None
    #: For a mail, whether every line of its body ends in CRLF and nothing else is a line end.
    canonical: bool = False
    #: For a mail, how many sessions there may be with its server under its account; 0 for any number.
    sessions: int = 0


class Response(msgspec.Struct):
    """A response, or why there is none."""

    #: None when there was no complete response: `error` says why, and `seen_status` has the status if it was read.
    #: For a mail, the code of the server's last reply: 250 when the server accepted it.
    status: int | None
    headers: list[tuple[str, str]]
    #: The first bytes of the body, decompressed; for a mail the text of the server's last reply.
    body: bytes
    #: `code: words`, or None.
    error: str | None
    duration_us: int
    seen_status: int | None = None
    #: Whether any of the request may have been sent; False only when certainly nothing was.
    #: For a mail: whether the server may have received the end of its data, and so may have accepted it.
    sent: bool = True
    #: For a mail, how far it came: one of domain.smtp.Stage.
    stage: str = ""


def phases(curl: pycurl.Curl) -> dict[str, float]:
    """Return when each phase of a finished call ended, in milliseconds since its start."""
    return {name: round(curl.getinfo(number) * 1000, 3) for name, number in _PHASES}


def read_headers(lines: list[bytes]) -> list[tuple[str, str]]:
    """Return the headers in libcurl's lines."""
    return [header for line in lines if (header := _header(line)) is not None]


@lru_cache(maxsize=1024)
def is_status_line(line: bytes) -> bool:
    """Return whether a status line has a status of three digits; libcurl reads the first three of longer ones."""
    return _STATUS_LINE.fullmatch(line) is not None


@lru_cache(maxsize=4096)
def _header(line: bytes) -> tuple[str, str] | None:
    """Split a header line; cached, because receivers send the same few lines again and again."""
    name, colon, value = line.partition(b":")
    if not colon or name.startswith(b"HTTP/"):
        return None
    return name.decode("latin-1").strip().lower(), value.decode("latin-1").strip()
