"""The hot routes, in front of the framework: the Segment HTTP tracking API as raw ASGI."""

import os
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
import structlog

from waypost.api.problems import problem
from waypost.api.receipts import ReceiptRoutes
from waypost.clock import now_us
from waypost.domain.accounts import Caller, Scope
from waypost.domain.events import (
    BATCH_BYTES,
    KINDS,
    Entry,
    read_batch,
    read_entry,
    read_message,
    reason_of,
)
from waypost.engine.accounts import Keyring
from waypost.engine.journal import Journal
from waypost.errors import Error, Invalid, TooLarge, Unavailable

log = structlog.get_logger()

Scope_ = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope_, Receive, Send], Awaitable[None]]

#: The second spelling is that of the library for browsers.
_ROUTES = {f"/v1/{kind}": kind for kind in KINDS} | {f"/v1/{kind[0]}": kind for kind in KINDS}
_ROUTES |= {"/v1/batch": "batch", "/v1/b": "batch"}
#: Browsers send events from any page: the write key is public there, and may do nothing but this.
_CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-headers", b"authorization, content-type, content-encoding"),
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    (b"access-control-max-age", b"86400"),
]
_encode = msgspec.json.Encoder().encode


def _answer(status: int, body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), _CORS[0]]
    return (
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": body},
    )


_START, _BODY = _answer(200, b'{"success":true}')


class Edge:
    """Takes the hot routes and leaves everything else to the app behind it."""

    def __init__(self, app: App, keyring: Keyring, journal: Journal, receipts: ReceiptRoutes) -> None:
        self._app = app
        self._keyring = keyring
        self._journal = journal
        self._receipts = receipts

    async def __call__(self, scope: Scope_, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or (kind := _ROUTES.get(scope["path"])) is None:
            if scope["type"] != "http" or not await self._receipts(scope, receive, send):
                await self._app(scope, receive, send)
            return
        try:
            if scope["method"] == "POST":
                await self._take(kind, scope, receive, send)
            elif scope["method"] == "OPTIONS":
                await send({"type": "http.response.start", "status": 204, "headers": _CORS})
                await send({"type": "http.response.body", "body": b""})
            else:
                raise Invalid("Send events with POST.", code="method_not_allowed")
        except Error as error:
            status, headers, body = problem(error)
            if status == 405:
                headers.append((b"allow", b"POST, OPTIONS"))
            await send({"type": "http.response.start", "status": status, "headers": [*headers, _CORS[0]]})
            await send({"type": "http.response.body", "body": body})

    async def _take(self, kind: str, scope: Scope_, receive: Receive, send: Send) -> None:
        authorization: str | None = None
        encoding = length = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value.decode("latin-1")
            elif name == b"content-encoding":
                encoding = value
            elif name == b"content-length":
                length = value
        if length and int(length) > BATCH_BYTES:
            raise TooLarge(
                f"A request is at most {BATCH_BYTES} bytes; this one has {int(length)}. Send smaller batches."
            )
        body = await read_body(receive, BATCH_BYTES)
        if encoding and encoding.strip().lower() not in (b"identity", b""):
            body = decompress(body, encoding, BATCH_BYTES)
        caller = self._keyring.remember(authorization) if authorization else None
        received_at = now_us()
        if kind == "batch":
            await self._take_batch(body, caller, authorization, received_at, send)
            return
        message = read_message(body)
        if caller is None:
            caller = await self._keyring.find(authorization, message.write_key)
        caller.require(Scope.INGEST)
        entry = read_entry(message, kind, caller.workspace_id, received_at, message.message_id or _fallback_id())
        await self._keep([entry])
        await send(_START)
        await send(_BODY)

    async def _take_batch(
        self, body: bytes, caller: Caller | None, authorization: str | None, received_at: int, send: Send
    ) -> None:
        batch = read_batch(body)
        if caller is None:
            caller = await self._keyring.find(authorization, batch.write_key)
        caller.require(Scope.INGEST)
        entries: list[Entry] = []
        rejected: list[dict[str, Any]] = []
        for index, raw in enumerate(batch.batch):
            message_id: str | None = None
            try:
                message = read_message(raw)
                message_id = message.message_id
                entries.append(
                    read_entry(
                        message, None, caller.workspace_id, received_at, message_id or _fallback_id(), batch.sent_at
                    )
                )
            except Error as error:
                rejected.append(reason_of(error, index, message_id))
        if rejected and not entries:
            raise Invalid("No event of this batch can be taken.", code="invalid_events", rejected=rejected)
        if entries:
            await self._keep(entries)
        if rejected:
            start, end = _answer(200, _encode({"success": True, "accepted": len(entries), "rejected": rejected}))
            await send(start)
            await send(end)
            return
        await send(_START)
        await send(_BODY)

    async def _keep(self, entries: list[Entry]) -> None:
        try:
            await self._journal.append(entries)
        except Error as error:
            # The error is shared by all who waited for the batch; each raises a copy with a traceback of its own.
            raise type(error)(error.detail, code=error.code) from None
        except Exception as error:
            raise Unavailable("The event could not be stored. Send it again.") from error


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body of a request; TooLarge past the limit."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if message["type"] == "http.disconnect":
            raise Invalid("The request was cut off.", code="disconnected")
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Invalid("The request was cut off.", code="disconnected")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise TooLarge(f"A request is at most {limit} bytes. Send smaller batches.")
    return b"".join(parts)


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """A gzip or deflate body in the clear; TooLarge when it would unfold past the limit."""
    if encoding.strip().lower() not in (b"gzip", b"x-gzip", b"deflate"):
        raise Invalid("The content-encoding must be gzip, deflate or none.", code="invalid_encoding")
    decoder = zlib.decompressobj(47)
    try:
        plain = decoder.decompress(body, limit + 1)
    except zlib.error as error:
        raise Invalid(
            f"The body is not valid {encoding.decode('latin-1')}: {error}.", code="invalid_encoding"
        ) from error
    if len(plain) > limit:
        raise TooLarge(f"A request is at most {limit} bytes when unpacked. Send smaller batches.")
    if not decoder.eof:
        raise Invalid("The compressed body ends too early.", code="invalid_encoding")
    return plain


def _fallback_id() -> str:
    return "waypost-" + os.urandom(12).hex()
