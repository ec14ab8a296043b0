"""Shared by the raw ASGI routes: reading request bodies and sending responses."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from waypost.api.problems import SECURITY_HEADERS, problem
from waypost.errors import Error, Invalid, TooLarge, Unavailable

HttpScope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[HttpScope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON = b"application/json"
#: The most bytes that one step of decompression yields.
_PIECE = 1024 * 1024


class Budget:
    """Limits the bytes of request bodies held in memory at the same time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def claim(self) -> "Claim":
        """Return a context manager for a share of the budget; the share is released when its block ends."""
        return Claim(self)


class Claim:
    """The bytes that one request holds."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.held -= self._size

    def add(self, size: int) -> None:
        """Add bytes to the claim; raise Unavailable if the budget is exhausted."""
        if self._budget.held + size > self._budget.limit:
            raise Unavailable("The server is receiving too much data. Retry in a moment.", code="overloaded")
        self._budget.held += size
        self._size += size


async def read_body(receive: Receive, encoding: bytes, limit: int, claim: Claim | None = None) -> bytes:
    """Read and decompress the body of a request.

    Raises TooLarge past the limit, and Invalid if the body is cut off or does not match its content-encoding.
    """
    message = await receive()
    if not encoding and not message.get("more_body") and message["type"] == "http.request":
        # Nearly every body arrives in one piece.
        body: bytes = message.get("body", b"")
        _count(len(body), len(body), limit, claim)
        return body
    unpack = _unpacking(encoding)
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise Invalid("The connection closed before the whole body arrived.", code="disconnected")
        chunk: bytes = message.get("body", b"")
        for part in (chunk,) if unpack is None else unpack.feed(chunk):
            size += len(part)
            _count(len(part), size, limit, claim)
            parts.append(part)
            if unpack is not None:
                # A small chunk can expand to many bytes: let other requests run.
                await asyncio.sleep(0)
        if not message.get("more_body"):
            break
        message = await receive()
    if unpack is not None:
        unpack.finish()
    return b"".join(parts)


def _count(part: int, size: int, limit: int, claim: Claim | None) -> None:
    if size > limit:
        raise TooLarge(f"The uncompressed body has more than {limit} bytes. Send smaller batches.")
    if claim is not None:
        claim.add(part)


def _unpacking(encoding: bytes) -> "_Unpacking | None":
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return None
    if name not in (b"gzip", b"x-gzip", b"deflate"):
        raise Invalid("The content-encoding is not supported. Use gzip, deflate or none.", code="invalid_encoding")
    return _Unpacking()


class _Unpacking:
    """Decompresses a gzip or zlib stream in limited steps, so that a small body cannot expand to a huge one."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(47)
        self._begun = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the decompressed parts of a chunk."""
        while chunk:
            if self._decoder.eof:
                # A gzip stream may have several members (RFC 1952).
                self._decoder = zlib.decompressobj(47)
            self._begun = True
            try:
                part = self._decoder.decompress(chunk, _PIECE)
            except zlib.error as error:
                raise Invalid(
                    f"The body does not match its content-encoding: {error}.", code="invalid_encoding"
                ) from error
            chunk = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail
            if part:
                yield part

    def finish(self) -> None:
        """Raise Invalid unless the stream is complete."""
        if not (self._begun and self._decoder.eof):
            raise Invalid("The compressed body is incomplete. Send it again.", code="invalid_encoding")


def json_headers(size: int) -> Headers:
    """Return the headers of a JSON response."""
    return [(b"content-type", JSON), (b"content-length", b"%d" % size), *SECURITY_HEADERS]


async def answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a complete response."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, error: Error, allow: bytes, more: Headers | None = None) -> None:
    """Send the response for an error; `allow` has the methods of the route, for a 405."""
    status, headers, body = problem(error)
    if status == 405:
        headers.append((b"allow", allow))
    await answer(send, status, [*headers, *(more or ())], body)
