"""The Segment HTTP tracking API as raw ASGI, in front of the framework."""

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import structlog

from waypost.api.edge.asgi import App, Headers, HttpScope, Receive, Send, answer, json_headers, read_body, refuse
from waypost.api.edge.direct import DirectCycle, DirectResponse, DirectRoute, DirectRoutes, FixedResponse
from waypost.api.problems import SECURITY_HEADERS
from waypost.clock import now_us
from waypost.domain.accounts.callers import Caller
from waypost.domain.events.segment import (
    BATCH_BYTES,
    EVENT_BYTES,
    KINDS,
    Entry,
    read_batch,
    read_entry,
    read_message,
    reason_of,
)
from waypost.engine.accounts.workspaces import Keyring
from waypost.engine.runtime.journal import Journal
from waypost.errors import Error, Invalid, TooLarge, Unauthorized, Unavailable

log = structlog.get_logger()

#: The short paths are those of the browser library.
_ROUTES = {f"/v1/{kind}": kind for kind in KINDS} | {f"/v1/{kind[0]}": kind for kind in KINDS}
_ROUTES |= {"/v1/batch": "batch", "/v1/b": "batch"}
#: Browsers send events from any page: the write key is public there, and can only send events.
_CORS: Headers = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-headers", b"authorization, content-type, content-encoding"),
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    (b"access-control-max-age", b"86400"),
]
_METHODS = b"POST, OPTIONS"
_encode = msgspec.json.Encoder().encode

_SUCCESS = b'{"success":true}'
_SUCCESS_HEADERS = [*json_headers(len(_SUCCESS)), _CORS[0]]
_ACCEPTED = FixedResponse(200, _SUCCESS_HEADERS, _SUCCESS)

#: Serves a request, or returns False without a response.
RawRoute = Callable[[HttpScope, Receive, Send], Awaitable[bool]]


class DirectEvents:
    """Takes single events from the protocol if they are valid and their key is cached.

    `Edge` gets all others through ASGI, and sends the errors.
    """

    methods = frozenset({b"POST"})
    most_bytes = EVENT_BYTES

    def __init__(self, keyring: Keyring, journal: Journal) -> None:
        self.paths = {path.encode(): kind for path, kind in _ROUTES.items() if kind != "batch"}
        self._keyring = keyring
        self._journal = journal

    def take(self, request: DirectCycle) -> DirectResponse | None:
        """Hand an event to the journal; the response waits until it is durable."""
        authorization = b""
        for name, value in request.headers:
            if name == b"authorization":
                authorization = value
        caller = self._keyring.remember(authorization.decode("latin-1")) if authorization else None
        if caller is None:
            return None
        caller.require("events.send")
        message = read_message(request.body)
        message_id = message.message_id or _fallback_id()
        entry = read_entry(message, self.paths[request.url], caller.workspace_id, now_us(), message_id)
        return DirectResponse(_ACCEPTED, after=self._journal.append([entry]))

    def refusal(self, error: BaseException) -> App:
        """Return the ASGI app that responds to an event that could not be stored."""

        async def answer_refusal(_scope: HttpScope, _receive: Receive, send: Send) -> None:
            await refuse(send, _not_stored(error), _METHODS, _CORS[:1])

        return answer_refusal


class Edge:
    """Serves the tracking routes and other raw routes, and passes every other request to the app behind it."""

    def __init__(
        self, app: App, keyring: Keyring, journal: Journal, others: Sequence[RawRoute], direct: Sequence[DirectRoute]
    ) -> None:
        self._app = app
        self._keyring = keyring
        self._journal = journal
        #: The other raw routes; each serves a request or returns False.
        self._others = others
        #: For a server whose protocol can do without ASGI: single events, and those of the other routes that can.
        self.direct = DirectRoutes([DirectEvents(keyring, journal), *direct])

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or (kind := _ROUTES.get(scope["path"])) is None:
            for serve in self._others:
                if await serve(scope, receive, send):
                    return
            await self._app(scope, receive, send)
            return
        try:
            if scope["method"] == "POST":
                await self._take(kind, scope, receive, send)
            elif scope["method"] == "OPTIONS":
                await answer(send, 204, [*_CORS, *SECURITY_HEADERS], b"")
            else:
                raise Invalid("This path supports only POST. Send events with POST.", code="method_not_allowed")
        except Error as error:
            await refuse(send, error, _METHODS, _CORS[:1])

    async def _take(self, kind: str, scope: HttpScope, receive: Receive, send: Send) -> None:
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
                f"The body has {int(length)} bytes; at most {BATCH_BYTES} are allowed. Send smaller batches."
            )
        caller = self._keyring.remember(authorization) if authorization else None
        if caller is None and authorization:
            caller = await self._keyring.find(authorization)
        if caller is not None:
            caller.require("events.send")
        body = await read_body(receive, encoding, BATCH_BYTES)
        received_at = now_us()
        if kind == "batch":
            await self._take_batch(body, caller, received_at, send)
            return
        try:
            message = read_message(body)
        except Error as error:
            raise _refusal(error, caller) from error
        if caller is None:
            caller = await self._find(message.write_key)
        entry = read_entry(message, kind, caller.workspace_id, received_at, message.message_id or _fallback_id())
        await self._keep([entry])
        await DirectResponse(_ACCEPTED).send(send)

    async def _take_batch(self, body: bytes, caller: Caller | None, received_at: int, send: Send) -> None:
        try:
            batch = read_batch(body)
        except Error as error:
            raise _refusal(error, caller) from error
        if caller is None:
            caller = await self._find(batch.write_key)
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
            raise Invalid(
                "Every event of the batch was rejected; `rejected` has the reasons.",
                code="invalid_events",
                rejected=rejected,
            )
        if entries:
            await self._keep(entries)
        if rejected:
            result = _encode({"success": True, "accepted": len(entries), "rejected": rejected})
            await answer(send, 200, [*json_headers(len(result)), _CORS[0]], result)
            return
        await DirectResponse(_ACCEPTED).send(send)

    async def _find(self, write_key: str | None) -> Caller:
        """Return the caller for a write key from the body; raise Unauthorized if the key is missing or unknown."""
        caller = await self._keyring.find(None, write_key)
        caller.require("events.send")
        return caller

    async def _keep(self, entries: list[Entry]) -> None:
        try:
            await self._journal.append(entries)
        except Exception as error:
            raise _not_stored(error) from (None if isinstance(error, Error) else error)


def _refusal(error: Error, caller: Caller | None) -> Error:
    """Return Unauthorized if no header had a key: a body that cannot be read has none. Otherwise return the error."""
    return Unauthorized() if caller is None else error


def _not_stored(error: BaseException) -> Error:
    """Return the error for an event that the journal did not store.

    All requests of the batch share the original; each raises a copy with its own traceback.
    """
    if isinstance(error, Error):
        return error.copy()
    return Unavailable("The event could not be stored. Send it again.")


def _fallback_id() -> str:
    return "waypost-" + os.urandom(12).hex()
