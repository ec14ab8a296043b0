"""The bytes and pauses of a response, with the faults that a behaviour asks for."""

import functools
import http
import zlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

import msgspec

from waypost.errors import Conflict, Error, Invalid, NotFound, TooLarge
from waypost.sink.behaviour import Behaviour

STATUS: dict[type[Error], int] = {Invalid: 400, NotFound: 404, Conflict: 409, TooLarge: 413}
PIECE = 64 * 1024
#: The bytes that the Content-Length of a truncated response announces but that are not sent.
MISSING_BYTES = 1024
GARBAGE = b"\x15\x03\x03\x00\x02\x02\x46 this is not HTTP\r\n\r\n"
PLAIN = "text/plain; charset=utf-8"
#: The bytes of a bomb that are compressed together.
BLOCK = 1 << 20
#: RFC 1952, section 2.3: no name, no time, best compression, system unknown.
GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
#: An empty final block (RFC 1951, section 3.2.6), which ends the stream.
DEFLATE_END = b"\x03\x00"


class Ending(StrEnum):
    """What happens to the connection after a response."""

    KEEP = "keep"  # It stays open for the next request.
    CLOSE = "close"  # It is closed normally.
    RESET = "reset"  # It is closed with a TCP reset.
    HANG = "hang"  # It stays open, but nothing is sent until the client closes it.


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The response to one request."""

    head: bytes = b""
    body: bytes = b""
    #: Generates the body in pieces, instead of `body`, if it is too large for memory.
    pieces: Callable[[], Iterator[bytes]] | None = None
    #: Seconds before anything is sent, and before each byte of the head and of the body.
    delay: float = 0.0
    head_pause: float = 0.0
    body_pause: float = 0.0
    ending: Ending = Ending.KEEP
    #: Head and body together, for a response that is sent in one write.
    whole: bytes | None = None


def build(behaviour: Behaviour) -> Response:
    """Return the response of a receiver with this behaviour."""
    if behaviour.hang:
        return Response(delay=behaviour.delay, ending=Ending.HANG)
    if behaviour.close or behaviour.reset:
        return Response(delay=behaviour.delay, ending=Ending.RESET if behaviour.reset else Ending.CLOSE)
    if behaviour.garbage:
        return Response(body=GARBAGE, whole=GARBAGE, delay=behaviour.delay, ending=Ending.CLOSE)

    body, pieces, length = _body(behaviour)
    headers = [tuple(line.split(":", 1)) for line in behaviour.header]
    given = {name.lower() for name, _ in headers}
    added: list[tuple[str, str]] = []
    if behaviour.content_type is not None or (length and "content-type" not in given):
        added.append(("content-type", PLAIN if behaviour.content_type is None else behaviour.content_type))
    if behaviour.gzip_bomb is not None:
        added.append(("content-encoding", "gzip"))
    if behaviour.redirect is not None:
        added.append(("location", behaviour.redirect))
    if behaviour.retry_after is not None:
        added.append(("retry-after", behaviour.retry_after))
    if behaviour.close_after:
        added.append(("connection", "close"))
    if behaviour.truncate:
        length += MISSING_BYTES
    if not _bodiless(behaviour.status) and not given & {"content-length", "transfer-encoding"}:
        added.append(("content-length", str(length)))
    head = _head(behaviour.status, [*added, *((name, value.strip()) for name, value in headers)])
    one_write = pieces is None and not behaviour.drip and not behaviour.drip_headers
    return Response(
        head=head,
        body=body,
        pieces=pieces,
        delay=behaviour.delay,
        head_pause=behaviour.drip_headers,
        body_pause=behaviour.drip,
        ending=Ending.CLOSE if behaviour.close_after or behaviour.truncate else Ending.KEEP,
        whole=head + body if one_write else None,
    )


def text(body: str, status: int = 200) -> Response:
    """Return a plain text response."""
    return _plain(status, PLAIN, body.encode())


def json(value: Any, status: int = 200) -> Response:
    """Return a JSON response."""
    return _plain(status, "application/json", msgspec.json.encode(value))


def reply(
    status: int,
    headers: list[tuple[str, str]],
    body: bytes = b"",
    *,
    delay: float = 0.0,
    ending: Ending = Ending.KEEP,
) -> Response:
    """Return the response of a simulated provider, with Content-Length added.

    With the endings CLOSE, RESET and HANG nothing is sent.
    """
    if ending in (Ending.HANG, Ending.CLOSE, Ending.RESET):
        return Response(delay=delay, ending=ending)
    head = _head(status, headers if _bodiless(status) else [*headers, ("content-length", str(len(body)))])
    return Response(head=head, body=body, whole=head + body, delay=delay)


def problem(error: Error, ending: Ending = Ending.KEEP) -> Response:
    """Return the problem document for an error of the sink itself (RFC 9457)."""
    status = STATUS.get(type(error), 500)
    document = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "code": error.code,
        "detail": error.detail,
        **error.extra,
    }
    return _plain(status, "application/problem+json", msgspec.json.encode(document), ending)


def _plain(status: int, content_type: str, body: bytes, ending: Ending = Ending.KEEP) -> Response:
    headers = [("content-type", content_type), ("content-length", str(len(body)))]
    if ending is Ending.CLOSE:
        headers.append(("connection", "close"))
    head = _head(status, headers)
    return Response(head=head, body=body, whole=head + body, ending=ending)


def _head(status: int, headers: list[tuple[str, str]]) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


def _bodiless(status: int) -> bool:
    """Return whether HTTP forbids a body (RFC 9110, section 6.4.1)."""
    return status < 200 or status in (204, 304)


def _body(behaviour: Behaviour) -> tuple[bytes, Callable[[], Iterator[bytes]] | None, int]:
    """Return the body or its generator, and its length."""
    if _bodiless(behaviour.status):
        return b"", None, 0
    if behaviour.gzip_bomb is not None:
        expanded = behaviour.gzip_bomb
        return b"", functools.partial(_bomb, expanded), _bomb_length(expanded)
    if behaviour.size is not None:
        if behaviour.size <= PIECE:
            return b"x" * behaviour.size, None, behaviour.size
        return b"", functools.partial(_filler, behaviour.size), behaviour.size
    body = b"ok" if behaviour.body is None else behaviour.body.encode()
    return body, None, len(body)


def _filler(size: int) -> Iterator[bytes]:
    """Yield a body of this many letters x."""
    piece = b"x" * PIECE
    for _ in range(size // PIECE):
        yield piece
    yield b"x" * (size % PIECE)


def _deflate(size: int) -> bytes:
    """Return this many zero bytes, compressed with DEFLATE.

    The block ends on a byte boundary and does not refer to earlier blocks, so it can be repeated.
    """
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(bytes(size)) + deflate.flush(zlib.Z_FULL_FLUSH)


@functools.cache
def _block() -> bytes:
    """Return the compressed block that bombs repeat."""
    return _deflate(BLOCK)


def _bomb_length(expanded: int) -> int:
    blocks, rest = divmod(expanded, BLOCK)
    return len(GZIP_HEAD) + blocks * len(_block()) + len(_deflate(rest)) + len(DEFLATE_END) + 8


def _bomb(expanded: int) -> Iterator[bytes]:
    """Yield a gzip stream (RFC 1952) of this many zero bytes."""
    blocks, rest = divmod(expanded, BLOCK)
    yield GZIP_HEAD
    zeros = bytes(BLOCK)
    checksum = 0
    for _ in range(blocks):
        checksum = zlib.crc32(zeros, checksum)
        yield _block()
    checksum = zlib.crc32(bytes(rest), checksum)
    yield _deflate(rest) + DEFLATE_END + checksum.to_bytes(4, "little") + (expanded % 2**32).to_bytes(4, "little")
