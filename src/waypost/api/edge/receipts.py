"""The routes for receipts, as raw ASGI: one for Amazon Data Firehose, one for the callbacks of all providers."""

import asyncio
from collections.abc import Iterator, Sequence

import msgspec
import structlog

from waypost.api.edge import asgi
from waypost.api.edge.asgi import JSON, Budget, HttpScope, Receive, Send, refuse
from waypost.api.problems import SECURITY_HEADERS, problem, unexpected_error
from waypost.clock import now_us
from waypost.domain.messaging.bounces import read_report
from waypost.domain.messaging.message import Receipt
from waypost.domain.messaging.receipt import Quarantined
from waypost.domain.providers.aws import firehose
from waypost.domain.providers.aws.sns import SnsNotification, confirmation, read_notification
from waypost.domain.providers.callback_verification import CallbackRequest, given_keys, is_genuine
from waypost.domain.providers.callbacks import BATCH_BYTES, BODY_BYTES, read_body, read_callbacks
from waypost.domain.providers.connection import Connection
from waypost.domain.values.ids import internal
from waypost.engine.net.request import Request
from waypost.engine.process import Engine
from waypost.errors import Error, Invalid, NotFound, Unauthorized, Unavailable

log = structlog.get_logger()

TRACKER = "/tracking/amazon-pinpoint-events"
CALLBACKS = "/receipts/"
#: Somewhat more than Firehose may send, so that nothing within its limits is refused: Firehose drops the records of a
#: request that gets a 413.
STREAM_BYTES = firehose.BODY_BYTES + 1024 * 1024
#: Bytes of bodies held in memory at the same time; further requests get 503.
HELD_BYTES = 256 * 1024 * 1024
#: Records, or bytes of records, that are parsed before other tasks run; they are recorded in one transaction.
SLICE_RECORDS, SLICE_BYTES = 1000, 1024 * 1024
#: The same for callbacks, which are parsed by rules and therefore more slowly.
SLICE_CALLBACKS = 250
#: Slices that wait to be stored at the same time.
_WAITING = 4
#: Longer request ids are cut.
_LONGEST_ID = 256
_CONFIRM_MS = 10_000
_EMPTY_TWIML = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
_TEXT_XML = b"text/xml"
_OF_JSON = {"content-type": "application/json"}
_NOT_GENUINE = (
    "The callback was not accepted: the connection does not exist, or the callback has no valid signature or key. "
    "Check the URL and the secrets of the connection."
)
_encode = msgspec.json.Encoder().encode
_is_json = msgspec.json.Decoder(msgspec.Raw).decode

Found = list[Receipt | Quarantined]


class _StreamAnswer(msgspec.Struct, omit_defaults=True):
    """The response format that Firehose requires: it counts anything else as a failure."""

    request_id: str = msgspec.field(name="requestId")
    #: Milliseconds since 1970.
    timestamp: int
    error_message: str | None = msgspec.field(default=None, name="errorMessage")


class ReceiptRoutes:
    """Serves the routes for receipts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._budget = Budget(HELD_BYTES)

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> bool:
        """Serve one request; return False, without a response, if the path is not one of these routes."""
        if scope["type"] != "http":
            return False
        path: str = scope["path"]
        if path == TRACKER:
            await self._serve_stream(scope, receive, send)
            return True
        if path.startswith(CALLBACKS) and "/" not in path[len(CALLBACKS) :]:
            await self._serve_callback(path[len(CALLBACKS) :], scope, receive, send)
            return True
        return False

    async def _serve_stream(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        request_id = headers.get("x-amz-firehose-request-id", "")[:_LONGEST_ID]
        status, message = 200, None
        try:
            _require_post(scope)
            workspace_id, connection_id = await self._find(headers, scope["query_string"].decode("latin-1"))
            with self._budget.claim() as claim:
                data = await asgi.read_body(receive, _encoding(headers), STREAM_BYTES, claim)
                named = await self._take_stream(data, headers, connection_id, workspace_id)
            request_id = request_id or named
        except Error as error:
            status, message = problem(error)[0], error.detail
        except Exception as error:
            log.error("request failed", action="request_failed", path=TRACKER, exc_info=error)
            status, message = 500, unexpected_error().detail
        # Firehose reads up to 8192 characters of it.
        answer = _StreamAnswer(request_id, now_us() // 1000, message[:2000] if message else None)
        await _answer(send, status, _encode(answer), JSON)

    async def _serve_callback(self, name: str, scope: HttpScope, receive: Receive, send: Send) -> None:
        try:
            _require_post(scope)
            content = await self._take_callback(name, scope, receive)
            await _answer(send, 200, content, _TEXT_XML if content is _EMPTY_TWIML else JSON)
        except Error as error:
            await refuse(send, error, b"POST")
        except Exception as error:
            log.error("request failed", action="request_failed", path=CALLBACKS, exc_info=error)
            await refuse(send, unexpected_error(), b"POST")

    async def _find(self, headers: dict[str, str], query: str) -> tuple[int, int]:
        """Return the workspace and the connection of the access key; raise Unauthorized if no key is valid."""
        for key in given_keys(headers, query):
            found = await self._engine.connections.by_receipts_key(key)
            if found is not None:
                return found
        raise Unauthorized("The access key is missing or not valid. Send the connection's access_key_for_receipts.")

    async def _take_callback(self, name: str, scope: HttpScope, receive: Receive) -> bytes:
        """Verify and record one callback, and return the body of the response."""
        headers, query = _headers(scope), scope["query_string"].decode("latin-1")
        connection = await self._connection(name)
        callback = connection.connector.callback if connection is not None else None
        scheme = callback.verify.scheme if callback is not None else ""
        if scheme == "firehose":
            # The key is in the headers: without a valid one the large body is not read.
            await self._require_key(connection, headers, query)
        limit = {"firehose": STREAM_BYTES, "sendgrid": BATCH_BYTES}.get(scheme, BODY_BYTES)
        with self._budget.claim() as claim:
            data = await asgi.read_body(receive, _encoding(headers), limit, claim)
            if connection is not None and connection.connector.driver == "smtp":
                await self._require_key(connection, headers, query)
                return b'{"accepted":%d}' % await self._take_mail(connection, data)
            if connection is None or callback is None:
                raise Unauthorized(_NOT_GENUINE)
            if scheme == "firehose":
                request_id = headers.get("x-amz-firehose-request-id", "")[:_LONGEST_ID]
                named = await self._take_stream(data, headers, connection.id, connection.workspace_id)
                return _encode(_StreamAnswer(request_id or named, now_us() // 1000))
            path, now = _raw_path(scope), now_us()
            request = CallbackRequest(headers=headers, path=path, query=query, body=data, bases=self._bases(connection))
            if not is_genuine(connection.connector, connection.config, request, now):
                await self._require_key(connection, headers, query)
            notification = read_notification(data)
            if notification is not None:
                if not await self._take_notification(notification):
                    return b'{"accepted":0}'
                request = msgspec.structs.replace(request, body=notification.message.encode(), headers=_OF_JSON)
            count = await self._keep(_callback_slices(connection, request, now))
        return _EMPTY_TWIML if scheme == "twilio" else b'{"accepted":%d}' % count

    async def _take_mail(self, connection: Connection, mail: bytes) -> int:
        """Record what a mail to the return path of a connection says; return the number of receipts."""
        tokens = self._engine.client.bounces
        if tokens is None:
            raise Unavailable("The server is starting.", code="not_ready")
        place = connection.workspace_id, connection.id
        # Parsing takes long for the largest mails.
        found = await asyncio.to_thread(read_report, mail, tokens, *place, now_us(), trusted=True)
        return await self._keep(iter([found]))

    async def _connection(self, name: str) -> Connection | None:
        try:
            return await self._engine.connections.by_id(internal("con", name))
        except NotFound:
            return None

    async def _require_key(self, connection: Connection | None, headers: dict[str, str], query: str) -> None:
        """Raise Unauthorized unless the request has the access key of its connection, which replaces a signature."""
        if connection is not None:
            for key in given_keys(headers, query):
                if await self._engine.connections.by_receipts_key(key) == (connection.workspace_id, connection.id):
                    return
        # The same error for an unknown connection and for a wrong signature, so that ids cannot be guessed.
        raise Unauthorized(_NOT_GENUINE)

    def _bases(self, connection: Connection) -> tuple[str, ...]:
        """Return the base URLs of this server: the one given to the provider, and the one of the settings."""
        registered = self._engine.connections.callback_url(connection).partition(CALLBACKS)[0]
        return tuple(dict.fromkeys(base for base in (registered, self._engine.settings.base_url) if base))

    async def _take_stream(self, body: bytes, headers: dict[str, str], connection_id: int, workspace_id: int) -> str:
        """Record what AWS sends: a Firehose request, an EventBridge event, or an SNS message.

        Returns the request id in the body of a Firehose request, or an empty string.
        """
        now = now_us()
        notification = read_notification(body)
        if notification is not None:
            if await self._take_notification(notification):
                message = notification.message.encode()
                await self._keep(iter([firehose.read_event(message, workspace_id, connection_id, now)]))
            return ""
        try:
            delivery = firehose.read_delivery(body)
        except Invalid:
            if any(name.startswith("x-amz-firehose-") for name in headers) or not _holds_json(body):
                raise
            await self._keep(iter([firehose.read_event(body, workspace_id, connection_id, now)]))
            return ""
        at = delivery.at or now
        await self._keep(
            firehose.read_records(part, workspace_id, connection_id, at) for part in _slices(delivery.records)
        )
        return delivery.request_id or ""

    async def _take_notification(self, notification: SnsNotification) -> bool:
        """Return whether an SNS envelope has a message to parse; confirm the subscription if it asks for that."""
        if notification.type == "Notification":
            return True
        if notification.type == "SubscriptionConfirmation":
            page = confirmation(notification)
            if page is None:
                raise Invalid("The SubscribeURL is not a URL of Amazon SNS. The subscription was not confirmed.")
            request = Request(page.url, b"", [], _CONFIRM_MS, method="GET")
            response, _ = await self._engine.outbound.fetch(request)
            if response.status is None or not 200 <= response.status < 300:
                raise Unavailable(
                    "Amazon SNS did not accept the confirmation of the subscription. Request the confirmation again."
                )
            log.info("subscription confirmed", action="subscription_confirmed", topic=notification.topic_arn[:256])
        return False

    async def _keep(self, slices: Iterator[Found]) -> int:
        """Record all slices, and return the number of receipts once they are durable."""
        journal = self._engine.journal
        waiting: list[asyncio.Future[None]] = []
        count = 0
        try:
            for found in slices:
                receipts = [one for one in found if isinstance(one, Receipt)]
                broken = [one for one in found if isinstance(one, Quarantined)]
                if receipts:
                    waiting.append(journal.append(receipts))
                if broken:
                    waiting.append(journal.append(broken))
                    log.warning("receipts not readable", action="receipts_quarantined", count=len(broken))
                count += len(receipts)
                while len(waiting) > _WAITING:
                    await _durable(waiting.pop(0))
                # Let other tasks run between two slices.
                await asyncio.sleep(0)
            while waiting:
                await _durable(waiting.pop(0))
        finally:
            for future in waiting:
                # Retrieve the exception, or asyncio logs it as never retrieved.
                future.add_done_callback(_consume_error)
        return count


def _callback_slices(connection: Connection, request: CallbackRequest, now: int) -> Iterator[Found]:
    """Yield the receipts in a verified callback, in slices."""
    connector = connection.connector
    records = read_body(connector, request)
    for start in range(0, len(records), SLICE_CALLBACKS):
        part = records[start : start + SLICE_CALLBACKS]
        yield read_callbacks(connector, part, connection.workspace_id, connection.id, now)


def _slices(records: Sequence[msgspec.Raw]) -> Iterator[Sequence[msgspec.Raw]]:
    """Yield the records in slices that are short enough to parse without a pause."""
    start = size = 0
    for index, record in enumerate(records):
        size += memoryview(record).nbytes
        if index - start + 1 == SLICE_RECORDS or size > SLICE_BYTES:
            yield records[start : index + 1]
            start, size = index + 1, 0
    if start < len(records):
        yield records[start:]


def _holds_json(body: bytes) -> bool:
    try:
        _is_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _headers(scope: HttpScope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _encoding(headers: dict[str, str]) -> bytes:
    return headers.get("content-encoding", "").encode("latin-1")


def _raw_path(scope: HttpScope) -> str:
    """Return the path exactly as in the URL, without the query."""
    raw = scope.get("raw_path")
    return raw.partition(b"?")[0].decode("latin-1") if raw else str(scope["path"])


def _require_post(scope: HttpScope) -> None:
    if scope["method"] != "POST":
        raise Invalid("This path supports only POST. Send receipts with POST.", code="method_not_allowed")


async def _durable(future: "asyncio.Future[None]") -> None:
    """Wait until a slice is durable; raise Unavailable if it was not stored."""
    try:
        await future
    except Error as error:
        # All requests of the batch share the error; each raises a copy with its own traceback.
        raise error.copy() from None
    except Exception as error:
        raise Unavailable("The database could not store the receipts. Retry the request.") from error


def _consume_error(future: "asyncio.Future[None]") -> None:
    if not future.cancelled():
        future.exception()


async def _answer(send: Send, status: int, body: bytes, media_type: bytes) -> None:
    headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body)), *SECURITY_HEADERS]
    if status == 405:
        headers.append((b"allow", b"POST"))
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await asgi.answer(send, status, headers, body)
