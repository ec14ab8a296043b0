"""Simulates Amazon Data Firehose with an HTTP endpoint: batches, headers, retries and strict checks of responses.

Source: AWS's appendix "HTTP endpoint delivery request and response specifications".
"""

import asyncio
import binascii
import functools
import hashlib
import uuid
import zlib
from collections import deque
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from waypost import clock
from waypost.errors import Invalid
from waypost.sink.aws.account import ACCOUNT, AwsAccount, stream_arn
from waypost.sink.callbacks import Attempt, Callback, Headers
from waypost.sink.context import Context, Routes, body, read_settings
from waypost.sink.faulty_response import Response, json
from waypost.sink.http_connection import Request

SENDER = "firehose"
#: Limits of the protocol: records per request, bytes per record, and bytes per response.
MOST_RECORDS = 10_000
LARGEST_RECORD = 1_024_000
LARGEST_ANSWER = 1024 * 1024
#: The number of last responses that GET /firehose shows.
KEPT_ANSWERS = 100
REGION = "us-east-1"

NOISE = (
    b'{"event_type":"_session.start","event_timestamp":%d,"arrival_timestamp":%d,"event_version":"3.1",'
    b'"application":{"app_id":"noise","sdk":{}},"client":{"client_id":"noise"},"device":{"platform":{}},'
    b'"session":{"session_id":"noise"},"attributes":{},"metrics":{},"awsAccountId":"' + ACCOUNT.encode() + b'"}'
)

Rate = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]


class FirehoseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings."""

    #: A request is sent when this many records or bytes wait, or the first has waited this many seconds.
    records: Annotated[int, Meta(ge=1, le=MOST_RECORDS)] = 500
    bytes: Annotated[int, Meta(ge=1, le=64 * 1024 * 1024)] = 5 * 1024 * 1024
    seconds: Seconds = 0.2
    gzip: bool = False
    #: Seconds before the second attempt, and the most attempts; AWS starts with 1 s and stops after a duration.
    retry_base: Seconds = 1.0
    attempts: Annotated[int, Meta(ge=1, le=1000)] = 9
    timeout: Annotated[float, Meta(gt=0, le=180)] = 180.0
    common_attributes: Annotated[dict[str, str], Meta(max_length=50)] = {}
    #: The envelope of a record.
    wrap: Literal["", "eventbridge", "sns"] = ""
    #: The place of a message's context in a Pinpoint event.
    context: Literal["customer_context", "flat", "client_context"] = "customer_context"
    #: The number of unrelated records to add, as a share of the others.
    noise_rate: Rate = 0.0
    #: The share of requests that are sent twice, with the same id.
    repeat_rate: Rate = 0.0
    #: The number of events per record, each followed by a newline if `delimiter` is set.
    joined: Annotated[int, Meta(ge=1, le=1000)] = 1
    delimiter: bool = False
    seed: str = ""


class PutRecords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request of POST /firehose/records: strings are sent unchanged, other values as JSON, `base64` as bytes."""

    stream: str = "receipts"
    records: list[Any] = []
    base64: list[bytes] = []


class Buffer:
    """The waiting records of one stream."""

    __slots__ = ("records", "region", "size", "timer")

    def __init__(self) -> None:
        self.region = REGION
        self.records: list[bytes] = []
        self.size = 0
        self.timer: asyncio.TimerHandle | None = None


class Firehose:
    """The simulated delivery streams."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._aws_account = context.provider(AwsAccount)
        self.settings = FirehoseSettings()
        self._buffers: dict[str, Buffer] = {}
        self._answers: deque[dict[str, Any]] = deque(maxlen=KEPT_ANSWERS)
        self._clear_counts()

    def _clear_counts(self) -> None:
        self._records = 0
        self._requests = 0
        self._undeliverable = 0
        self._noise = 0.0

    def configure(self, given: object) -> None:
        """Apply settings; omitted fields have their default."""
        self.settings = read_settings(given, FirehoseSettings)

    def put(self, name: str, region: str, events: list[bytes], delay: float = 0.0) -> None:
        """Add events to a stream, after `delay` seconds."""
        if delay:
            asyncio.get_running_loop().call_later(delay, self.put, name, region, events)
            return
        settings = self.settings
        if settings.wrap:
            events = [wrap(event, settings.wrap, region) for event in events]
        if settings.noise_rate:
            events = self._with_noise(events)
        if settings.delimiter:
            events = [event + b"\n" for event in events]
        if settings.joined > 1:
            events = [b"".join(events[at : at + settings.joined]) for at in range(0, len(events), settings.joined)]
        self.put_raw(name, region, events)

    def put_raw(self, name: str, region: str, records: list[bytes]) -> None:
        """Add records to a stream unchanged."""
        buffer = self._buffers.get(name)
        if buffer is None:
            buffer = self._buffers[name] = Buffer()
        buffer.region = region
        self._records += len(records)
        most, largest = self.settings.records, self.settings.bytes
        for record in records:
            coded = binascii.b2a_base64(record, newline=False)
            buffer.records.append(coded)
            buffer.size += len(coded)
            if len(buffer.records) >= most or buffer.size >= largest:
                self._flush(name, buffer)
        if buffer.records and buffer.timer is None:
            loop = asyncio.get_running_loop()
            buffer.timer = loop.call_later(self.settings.seconds, self._flush, name, buffer)

    def flush(self) -> int:
        """Send the waiting records now, and return their number."""
        sent = 0
        for name, buffer in self._buffers.items():
            sent += len(buffer.records)
            self._flush(name, buffer)
        return sent

    def _flush(self, name: str, buffer: Buffer) -> None:
        if buffer.timer is not None:
            buffer.timer.cancel()
            buffer.timer = None
        records, buffer.records, buffer.size = buffer.records, [], 0
        if not records:
            return
        stream = self._aws_account.stream(name)
        url = self._aws_account.url(stream)
        reachable = stream.exists and stream.kind == "firehose" and stream.destination == "http"
        if not reachable or stream.status != "ACTIVE" or not url:
            self._undeliverable += len(records)
            return
        request_id = str(uuid.uuid4())
        self._requests += 1
        content = b'{"requestId":"%s","timestamp":%d,"records":[{"data":"%s"}]}' % (
            request_id.encode(),
            clock.now_us() // 1000,
            b'"},{"data":"'.join(records),
        )
        settings = self.settings
        headers = [
            ("X-Amz-Firehose-Protocol-Version", "1.0"),
            ("X-Amz-Firehose-Request-Id", request_id),
            ("X-Amz-Firehose-Source-Arn", stream_arn(stream, name, buffer.region)),
            ("Content-Type", "application/json"),
            ("User-Agent", "Amazon Kinesis Data Firehose Agent/1.0"),
        ]
        access_key = self._aws_account.access_key(stream)
        if access_key:
            headers.append(("X-Amz-Firehose-Access-Key", access_key))
        if settings.common_attributes:
            attributes = msgspec.json.encode({"commonAttributes": settings.common_attributes}).decode()
            headers.append(("X-Amz-Firehose-Common-Attributes", attributes))
        if settings.gzip:
            content = zlib.compress(content, 1, wbits=31)
            headers.append(("Content-Encoding", "gzip"))
        callback = Callback(
            sender=SENDER,
            url=url,
            headers=headers,
            body=content,
            attempts=settings.attempts,
            retry_base=settings.retry_base,
            timeout=settings.timeout,
            accept=functools.partial(accept, request_id),
            on_attempt=functools.partial(self._note, request_id, len(records)),
        )
        self._context.callbacks.send(callback)
        if settings.repeat_rate and _chance(settings.seed, self._requests) < settings.repeat_rate:
            self._context.callbacks.send(callback)

    def _with_noise(self, events: list[bytes]) -> list[bytes]:
        """Return the events with unrelated ones added evenly, `noise_rate` of them per event."""
        mixed: list[bytes] = []
        for event in events:
            mixed.append(event)
            self._noise += self.settings.noise_rate
            if self._noise >= 1:
                self._noise -= 1
                now = clock.now_us() // 1000
                mixed.append(NOISE % (now, now))
        return mixed

    def _note(self, request_id: str, records: int, attempt: Attempt) -> None:
        """Store the result of an attempt for GET /firehose."""
        self._answers.append(
            {
                "request_id": request_id,
                "records": records,
                "attempt": attempt.number,
                "status": attempt.status,
                "taken": bool(attempt.accepted),
                "problem": attempt.error or fault(request_id, attempt.status or 0, attempt.body, attempt.headers),
                "body": attempt.body[:2000].decode("utf-8", "replace"),
                "at": clock.iso(clock.now_us()),
            }
        )

    # Routes.

    def show(self, request: Request) -> Response:
        """Return the settings, the counts and the last responses."""
        return json(
            {
                "settings": self.settings,
                "records": self._records,
                "waiting": sum(len(buffer.records) for buffer in self._buffers.values()),
                "undeliverable": self._undeliverable,
                "requests": self._requests,
                "posts": self._context.callbacks.counts(SENDER),
                "answers": list(self._answers),
            }
        )

    def change(self, request: Request) -> Response:
        """Apply settings, and return them."""
        self.configure(body(request))
        return json({"settings": self.settings})

    def clear(self, request: Request) -> Response:
        """Reset settings and counts, and drop waiting records."""
        for buffer in self._buffers.values():
            if buffer.timer is not None:
                buffer.timer.cancel()
        self._buffers.clear()
        self._answers.clear()
        self._clear_counts()
        self.settings = FirehoseSettings()
        return json({"settings": self.settings})

    def add_records(self, request: Request) -> Response:
        """Add records unchanged."""
        try:
            given = msgspec.json.decode(request.body, type=PutRecords)
        except msgspec.DecodeError as error:
            raise Invalid(f"The records are not valid: {error}.", code="invalid_records") from error
        records = [item.encode() if isinstance(item, str) else msgspec.json.encode(item) for item in given.records]
        records += given.base64
        if any(len(record) > LARGEST_RECORD for record in records):
            raise Invalid(f"A record may have at most {LARGEST_RECORD} bytes.", code="invalid_records")
        self.put_raw(given.stream, REGION, records)
        return json({"records": len(records)})

    def send_now(self, request: Request) -> Response:
        """Send the waiting records."""
        return json({"sent": self.flush()})


def accept(request_id: str, status: int, content: bytes, headers: Headers) -> bool | None:
    """Return True if Firehose counts a request as delivered, None if it gives up, False if it retries."""
    if status == 413:
        return None
    return not fault(request_id, status, content, headers)


def fault(request_id: str, status: int, content: bytes, headers: Headers) -> str:
    """Return the reason why Firehose refuses a response; empty if it accepts it."""
    if status != 200:
        return f"the status is {status}"
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return "the Content-Type is not application/json"
    if "content-length" not in headers or "transfer-encoding" in headers:
        return "there is no Content-Length"
    if "content-encoding" in headers:
        return "there is a Content-Encoding"
    if len(content) > LARGEST_ANSWER:
        return "the body is longer than 1 MiB"
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "the body is not JSON"
    if not isinstance(document, dict) or document.get("requestId") != request_id:
        return "requestId is not that of the request"
    if type(document.get("timestamp")) is not int:
        return "timestamp is not an integer"
    return ""


def wrap(event: bytes, kind: str, region: str) -> bytes:
    """Return an event in the envelope of EventBridge or SNS."""
    now = clock.now_us()
    if kind == "eventbridge":
        return msgspec.json.encode(
            {
                "version": "0",
                "id": str(uuid.uuid4()),
                "detail-type": "Text Message Delivery Status Updated",
                "source": "aws.sms-voice",
                "account": ACCOUNT,
                "time": clock.iso(now)[:19] + "Z",
                "region": region,
                "resources": [],
                "detail": msgspec.Raw(event),
            }
        )
    return msgspec.json.encode(
        {
            "Type": "Notification",
            "MessageId": str(uuid.uuid4()),
            "TopicArn": f"arn:aws:sns:{region}:{ACCOUNT}:receipts",
            "Message": event.decode(),
            "Timestamp": clock.iso(now)[:23] + "Z",
            "UnsubscribeURL": f"https://sns.{region}.amazonaws.com/?Action=Unsubscribe",
        }
    )


def _chance(seed: str, number: int) -> float:
    """Return a number from 0 to 1 (exclusive), determined by seed and number."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:request {number}".encode(), digest_size=8).digest(), "big") / 2**64


ROUTES: Routes = {
    ("GET", "/firehose"): Firehose.show,
    ("PUT", "/firehose"): Firehose.change,
    ("DELETE", "/firehose"): Firehose.clear,
    ("POST", "/firehose/records"): Firehose.add_records,
    ("POST", "/firehose/flush"): Firehose.send_now,
}
