"""Receipts in the exact protocol of each provider are verified, and are durable before the response."""

import asyncio
import base64
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast
from urllib.parse import urlencode

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twilio.request_validator import RequestValidator

from tests.api.calling import Keys, serve
from waypost.api.edge.ingest import Edge
from waypost.api.edge.receipts import ReceiptRoutes
from waypost.clock import now_us
from waypost.domain.events.segment import message_key
from waypost.domain.messaging.message import Receipt
from waypost.domain.messaging.receipt import Quarantined
from waypost.domain.values.ids import internal, public
from waypost.engine.net.request import Request, Response
from waypost.engine.process import Engine
from waypost.engine.providers import registry
from waypost.engine.providers.connectors import shipped
from waypost.engine.runtime.journal import Journal
from waypost.errors import Unavailable
from waypost.storage.database import Tx

TRACKER = "/tracking/amazon-pinpoint-events"
REQUEST_ID = "c0ffee00-0000-4000-8000-00000000f001"
KEY = "a key for receipts, with spaces"
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}


class Answered(msgspec.Struct):
    """The response to one request."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def header(self) -> dict[str, str]:
        assert len(dict(self.headers)) == len(self.headers)
        return dict(self.headers)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class World:
    """An engine behind its app, the items that its journal got, and its connections."""

    def __init__(self, engine: Engine, keys: Keys) -> None:
        self.engine = engine
        self.keys = keys
        self.app = serve(engine)
        self.kept: list[Any] = []

    async def call(
        self,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        headers: dict[str, str] | None = None,
        *,
        method: str = "POST",
        query: str = "",
        cut_off: bool = False,
    ) -> Answered:
        """Send one request, with its body in pieces if it is a list."""
        pieces = [body] if isinstance(body, bytes) else list(body)
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            if not pieces:
                return {"type": "http.disconnect"}
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces) or cut_off}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()],
        }
        await self.app(scope, receive, send)
        start, *rest = sent
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        told = [(name.decode(), value.decode()) for name, value in start["headers"]]
        return Answered(start["status"], told, rest[0]["body"])

    async def connect(self, connector: str, key: str | None = None, workspace: int | None = None, **config: Any) -> str:
        """Create a connection; return its public id."""
        engine, now = self.engine, now_us()
        values: dict[str, Any] = {
            "id": engine.ids.one(now),
            "workspace_id": workspace or self.keys.workspace_id,
            "name": connector,
            "connector": connector,
            "channel": shipped()[connector].channel,
            "config": "{}",
            "secrets": engine.encryption.encrypt(json.dumps(config)),
            "receipts_key_hash": None if key is None else registry.receipts_key_hash(key),
            "position": 1,
            "per_second": None,
            "concurrency": None,
            "validity_s": None,
            "data_center": "",
            "now": now,
        }
        await engine.database.transact(_connect, values)
        await engine.connections.refresh([values["workspace_id"]])
        return public("con", values["id"])

    async def unmatched(self, provider_id: str) -> list[Receipt]:
        """Return the stored receipts with a provider's id whose message is unknown."""
        rows = await self.engine.database.read(_unmatched, message_key(self.keys.workspace_id, provider_id))
        return [msgspec.json.decode(row[1], type=Receipt) for row in rows]

    async def quarantined(self) -> list[dict[str, Any]]:
        """Return the quarantined receipts."""
        return await self.engine.database.read(_quarantined, self.keys.workspace_id)


async def _connect(tx: Tx, values: dict[str, Any]) -> None:
    await tx.run("connections.add", **values)
    await tx.run("configurations.touch", area="providers", workspace_id=values["workspace_id"])


async def _unmatched(tx: Tx, key: int) -> list[Any]:
    return await tx.rows("unmatched.find", keys=[key])


async def _quarantined(tx: Tx, workspace_id: int) -> list[dict[str, Any]]:
    return await tx.records("quarantine.list", workspace_id=workspace_id, before=1 << 62, n=1000)


@pytest.fixture
def world(engine: Engine, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(engine, keys)
    append = Journal.append

    def watch(journal: Journal, items: Any, **more: Any) -> Any:
        made.kept.extend(items if isinstance(items, list) else [items])
        return append(journal, items, **more)

    # Observed, not replaced: the items are recorded.
    monkeypatch.setattr(Journal, "append", watch)
    return made


def sms_event(provider_id: str = "em-1", type_: str = "TEXT_DELIVERED") -> dict[str, Any]:
    return {
        "eventType": type_,
        "eventTimestamp": 1_790_000_001_000,
        "destinationPhoneNumber": "+12025550101",
        "messageId": provider_id,
        "messageType": "PROMOTIONAL",
        "context": {"campaign": "c-7"},
    }


def delivery(*records: Any, **changes: Any) -> bytes:
    encoded = [
        {"data": base64.b64encode(one if isinstance(one, bytes) else json.dumps(one).encode()).decode()}
        for one in records
    ]
    return json.dumps({"requestId": REQUEST_ID, "timestamp": 1_790_000_005_000, "records": encoded} | changes).encode()


def from_firehose(key: str | None = KEY, **more: str) -> dict[str, str]:
    headers = {
        "X-Amz-Firehose-Protocol-Version": "1.0",
        "X-Amz-Firehose-Request-Id": REQUEST_ID,
        "X-Amz-Firehose-Source-Arn": "arn:aws:firehose:us-east-1:111122223333:deliverystream/dlr",
        "X-Amz-Firehose-Common-Attributes": '{"commonAttributes": {"a": "b"}}',
        "Content-Type": "application/json",
    }
    return headers | ({} if key is None else {"X-Amz-Firehose-Access-Key": key}) | more


def check_stream_answer(answer: Answered, status: int, request_id: str = REQUEST_ID) -> None:
    """Check that Firehose accepts a response (its appendix on HTTP endpoint deliveries)."""
    assert answer.status == status, answer.body
    assert answer.header["content-type"] == "application/json"
    assert answer.header["content-length"] == str(len(answer.body))
    assert not {"content-encoding", "transfer-encoding"} & answer.header.keys()
    said = answer.json
    assert said["requestId"] == request_id
    assert type(said["timestamp"]) is int
    assert abs(said["timestamp"] - now_us() // 1000) < 60_000
    assert said.keys() == ({"requestId", "timestamp"} if status == 200 else {"requestId", "timestamp", "errorMessage"})
    assert 0 < len(said.get("errorMessage", "x")) <= 8192


@pytest.mark.parametrize("packed", [False, True])
async def test_firehose_is_answered_when_its_records_are_on_disk(world: World, packed: bool):
    connection = await world.connect("aws-pinpoint", KEY)
    body = delivery(sms_event("em-1"), sms_event("em-2", "TEXT_SPAM"), b"", b"not json", {"event_type": "_email.x"})
    headers = from_firehose()
    if packed:
        body, headers = gzip.compress(body, mtime=0), headers | {"Content-Encoding": "gzip"}
    answer = await world.call(TRACKER, [body[:100], body[100:101], b"", body[101:]], headers)
    check_stream_answer(answer, 200)
    (first,) = await world.unmatched("em-1")
    (second,) = await world.unmatched("em-2")
    assert (first.status, second.status, second.code) == ("delivered", "failed", 2015)
    assert {first.workspace_id, second.workspace_id} == {world.keys.workspace_id}
    assert public("con", first.connection_id) == connection
    (broken,) = await world.quarantined()
    assert (broken["body"], public("con", broken["connection_id"])) == (b"not json", connection)


@pytest.mark.parametrize("key", [None, "", "wrong", KEY + " ", KEY.upper(), "k" * 5000])
async def test_a_wrong_key_is_refused_in_the_shape_of_the_protocol(world: World, key: str | None):
    await world.connect("aws-pinpoint", KEY)
    answer = await world.call(TRACKER, delivery(sms_event()), from_firehose(key))
    check_stream_answer(answer, 401)
    assert world.kept == []
    assert KEY not in answer.body.decode()


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "DELETE"])
async def test_only_post_is_taken(world: World, method: str):
    await world.connect("aws-pinpoint", KEY)
    answer = await world.call(TRACKER, b"", from_firehose(), method=method)
    check_stream_answer(answer, 405)
    assert answer.header["allow"] == "POST"
    answer = await world.call("/receipts/con_0000000000000001", b"", method=method)
    assert (answer.status, answer.header["allow"], answer.json["code"]) == (405, "POST", "method_not_allowed")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"{", {}),
        (b"[]", {}),
        (b'{"requestId": "r"}', {}),
        (b"\xff", {}),
        (b"[" * 100_000, {}),
        (b"no gzip", {"Content-Encoding": "gzip"}),
        (gzip.compress(delivery(), mtime=0)[:-9], {"Content-Encoding": "gzip"}),
        (b"", {"Content-Encoding": "gzip"}),
        (delivery(), {"Content-Encoding": "br"}),
        (gzip.compress(delivery(), mtime=0), {}),
    ],
    ids=str.split("nothing half list no_records no_text deep not_packed cut_off empty brotli not_said"),
)
async def test_a_malformed_body_is_refused_in_the_shape_of_the_protocol(
    world: World, body: bytes, headers: dict[str, str]
):
    await world.connect("aws-pinpoint", KEY)
    check_stream_answer(await world.call(TRACKER, body, from_firehose() | headers), 400)
    assert world.kept == []


async def test_the_id_of_the_request_is_given_back(world: World):
    await world.connect("aws-pinpoint", KEY)
    headers = from_firehose()
    check_stream_answer(await world.call(TRACKER, delivery(requestId="other"), headers), 200)
    del headers["X-Amz-Firehose-Request-Id"]
    check_stream_answer(await world.call(TRACKER, delivery(requestId="other"), headers), 200, "other")
    check_stream_answer(await world.call(TRACKER, delivery(requestId=None), headers), 200, "")


async def test_one_bad_record_spoils_no_batch(world: World):
    await world.connect("aws-pinpoint", KEY)
    good = json.loads(delivery(sms_event()))
    good["records"] += [5, {}, {"data": "%"}, {"data": None}]
    check_stream_answer(await world.call(TRACKER, json.dumps(good).encode(), from_firehose()), 200)
    assert len(await world.quarantined()) == 4
    assert len(await world.unmatched("em-1")) == 1


def bomb(mib: int) -> bytes:
    """Return this many MiB of spaces, compressed as consecutive gzip members."""
    return gzip.compress(b" " * (1 << 20)) * mib


@pytest.mark.parametrize("in_pieces", [False, True])
async def test_a_zip_bomb_is_refused_while_it_unfolds(world: World, in_pieces: bool):
    await world.connect("aws-pinpoint", KEY)
    packed = bomb(1024)
    pieces = [packed[start : start + 65_536] for start in range(0, len(packed), 65_536)] if in_pieces else packed
    tracemalloc.start()
    answer = await world.call(TRACKER, pieces, from_firehose(**{"Content-Encoding": "gzip"}))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    check_stream_answer(answer, 413)
    assert peak < 100 << 20


async def test_the_largest_request_of_the_protocol_is_taken(world: World):
    await world.connect("aws-pinpoint", KEY)
    filler = {"data": base64.b64encode(b'{"event_type": "_email.x"' + b" " * 1_023_900 + b"}").decode()}
    event = {"data": base64.b64encode(json.dumps(sms_event()).encode()).decode()}
    records = [filler] * 48 + [event]
    body = json.dumps({"requestId": REQUEST_ID, "records": records}).encode()
    body += b" " * ((64 << 20) - len(body))
    assert len(body) == 64 << 20
    check_stream_answer(await world.call(TRACKER, body, from_firehose()), 200)
    packed = gzip.compress(body, 1, mtime=0)
    check_stream_answer(await world.call(TRACKER, packed, from_firehose(**{"Content-Encoding": "gzip"})), 200)
    assert len(await world.unmatched("em-1")) == 2
    check_stream_answer(await world.call(TRACKER, [body, b" " * (2 << 20)], from_firehose()), 413)


async def test_others_get_their_turn_while_a_large_batch_is_read(world: World):
    await world.connect("aws-pinpoint", KEY)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    check_stream_answer(await world.call(TRACKER, delivery(*[sms_event()] * 10_000), from_firehose()), 200)
    counting.cancel()
    assert len(world.kept) == 10_000
    assert turns >= 10


async def test_when_the_store_is_away_it_is_asked_for_again(world: World, monkeypatch: pytest.MonkeyPatch):
    connection = await world.connect("aws-pinpoint", KEY)
    gateway = await world.connect("http", callback_token="t")

    def refuse(*_: Any, **__: Any) -> Any:
        raise Unavailable("The store is away.")

    def fail(*_: Any, **__: Any) -> Any:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(OSError("disk"))
        return future

    for away in (refuse, fail):
        monkeypatch.setattr(Journal, "append", away)
        answer = await world.call(TRACKER, delivery(*[sms_event()] * 5000), from_firehose())
        check_stream_answer(answer, 503)
        assert answer.header["retry-after"]
        body = b'{"id": "g-1", "status": "sent"}'
        answer = await world.call(f"/receipts/{gateway}", body, JSON, query="token=t")
        assert (answer.status, answer.header["content-type"]) == (503, "application/problem+json")
        assert answer.header["retry-after"]
    assert connection


async def test_too_much_at_once_is_asked_for_again(world: World, monkeypatch: pytest.MonkeyPatch):
    await world.connect("aws-pinpoint", KEY)
    budget = cast(ReceiptRoutes, cast(Edge, world.app)._others[0])._budget
    monkeypatch.setattr(budget, "limit", 100)
    check_stream_answer(await world.call(TRACKER, delivery(sms_event()), from_firehose()), 503)
    assert budget.held == 0
    monkeypatch.undo()
    for _ in range(3):
        check_stream_answer(await world.call(TRACKER, delivery(sms_event()), from_firehose()), 200)


async def test_a_request_that_is_cut_off_leaves_nothing(world: World):
    await world.connect("aws-pinpoint", KEY)
    check_stream_answer(await world.call(TRACKER, delivery(sms_event()), from_firehose(), cut_off=True), 400)
    assert world.kept == []


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"x-api-key": "k-1"}, ""),
        ({"authorization": "Bearer k-1"}, ""),
        (basic("anybody", "k-1"), ""),
        (basic("k-1", ""), ""),
        ({}, "key=k-1"),
        ({}, "token=k-1"),
        ({"x-amz-firehose-access-key": "k-1"}, ""),
    ],
)
async def test_event_bridge_and_sns_bring_the_same(world: World, headers: dict[str, str], query: str):
    connection = await world.connect("aws-end-user-messaging", "k-1")
    bridge = {"source": "aws.sms-voice", "detail-type": "t", "detail": sms_event("em-b")}
    sns = {
        "Type": "Notification",
        "MessageId": "n-1",
        "TopicArn": "arn:aws:sns:us-east-1:111122223333:t",
        "Message": json.dumps(sms_event("em-s")),
    }
    if "x-amz-firehose-access-key" not in headers:
        for path in (TRACKER, f"/receipts/{connection}"):
            answer = await world.call(path, json.dumps(bridge).encode(), headers, query=query)
            check_stream_answer(answer, 200, "")
        assert len(await world.unmatched("em-b")) == 2
    for path in (TRACKER, f"/receipts/{connection}"):
        check_stream_answer(await world.call(path, json.dumps(sns).encode(), headers, query=query), 200, "")
        assert (await world.call(path, json.dumps(sns).encode(), {}, query="key=other")).status == 401
    assert len(await world.unmatched("em-s")) == 2


async def test_firehose_may_also_come_to_its_connection(world: World):
    connection = await world.connect("aws-pinpoint", KEY)
    answer = await world.call(f"/receipts/{connection}", delivery(sms_event()), from_firehose())
    check_stream_answer(answer, 200)
    assert len(await world.unmatched("em-1")) == 1


Fetch = Callable[[Any, Request], Awaitable[tuple[Response, dict[str, float]]]]


@pytest.mark.parametrize(
    ("page", "status", "fetched", "answered"),
    [
        ("https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=t", 200, 1, 200),
        ("https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=t", 403, 1, 503),
        ("https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=t", None, 1, 503),
        ("https://evil.test/?Token=t", 200, 0, 400),
        ("http://127.0.0.1:8080/", 200, 0, 400),
    ],
)
async def test_a_subscription_is_confirmed_at_sns_and_nowhere_else(
    world: World, monkeypatch: pytest.MonkeyPatch, page: str, status: int | None, fetched: int, answered: int
):
    asked: list[Request] = []

    async def fetch(_: Any, request: Request) -> tuple[Response, dict[str, float]]:
        asked.append(request)
        return Response(status, [], b"", None if status else "timeout: late", 1), {}

    # The one part that cannot run here: the pages of AWS.
    monkeypatch.setattr(type(world.engine.outbound), "fetch", fetch)
    aws = await world.connect("aws-end-user-messaging", "k-1")
    gateway = await world.connect("http", "k-2")
    body = json.dumps(
        {"Type": "SubscriptionConfirmation", "TopicArn": "arn:aws:sns:x:1:t", "SubscribeURL": page, "Token": "t"}
    ).encode()
    places = ((TRACKER, "k-1"), (f"/receipts/{aws}", "k-1"), (f"/receipts/{gateway}", "k-2"))
    for path, key in places:
        assert (await world.call(path, body, query="key=wrong")).status == 401
        assert asked == []
        assert (await world.call(path, body, query=f"key={key}")).status == answered
        assert [(request.method, request.url) for request in asked] == [("GET", page)] * fetched
        asked.clear()
    assert world.kept == []


async def test_sns_may_carry_a_callback(world: World):
    connection = await world.connect("http", "k-1")
    said = {"id": "g-1", "status": "delivered"}
    body = {"Type": "Notification", "TopicArn": "arn:aws:sns:x:1:t", "Message": json.dumps(said)}
    answer = await world.call(f"/receipts/{connection}", json.dumps(body).encode(), {}, query="key=k-1")
    assert (answer.status, answer.body) == (200, b'{"accepted":1}')
    assert len(await world.unmatched("g-1")) == 1
    body["Type"] = "UnsubscribeConfirmation"
    answer = await world.call(f"/receipts/{connection}", json.dumps(body).encode(), {}, query="key=k-1")
    assert (answer.status, answer.body) == (200, b'{"accepted":0}')


SIGNER = ec.generate_private_key(ec.SECP256R1())
PUBLIC = base64.b64encode(SIGNER.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def from_sendgrid(body: bytes, signer: ec.EllipticCurvePrivateKey = SIGNER, late_s: int = 0) -> dict[str, str]:
    at = str(now_us() // 1_000_000 + late_s)
    return JSON | {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(
            signer.sign(at.encode() + body, ec.ECDSA(SHA256()))
        ).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": at,
    }


def email_events(count: int) -> bytes:
    events = [
        {"email": "ines@example.test", "timestamp": 1_790_000_000, "event": "delivered"}
        | {"sg_event_id": f"ev-{number}", "sg_message_id": "sg-1.x", "response": "250 " + "ok " * 100}
        for number in range(count)
    ]
    return json.dumps(events).encode() + b"\r\n"


async def test_sendgrid(world: World):
    connection = await world.connect("sendgrid", webhook_public_key=PUBLIC)
    body = email_events(3)
    answer = await world.call(f"/receipts/{connection}", [body[:50], body[50:]], from_sendgrid(body))
    assert (answer.status, answer.body) == (200, b'{"accepted":3}')
    assert answer.header["content-length"] == "14"
    assert [found.receipt_id for found in await world.unmatched("sg-1")] == ["ev-0", "ev-1", "ev-2"]
    large = email_events(5000)
    assert len(large) > 1 << 20
    answer = await world.call(f"/receipts/{connection}", large, from_sendgrid(large))
    assert answer.json == {"accepted": 5000}
    vast = b" " * (9 << 20)
    assert (await world.call(f"/receipts/{connection}", vast, from_sendgrid(vast))).status == 413


async def test_twilio(world: World):
    connection = await world.connect("twilio", auth_token="t0ken")
    path = f"/receipts/{connection}"
    url = world.engine.connections.callback_url(world.engine.connections.all()[0])
    assert url.endswith(path)
    fields = {"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": "30007", "To": "+12025550101"}
    signature = RequestValidator("t0ken").compute_signature(url, fields)
    answer = await world.call(path, urlencode(fields).encode(), FORM | {"X-Twilio-Signature": signature})
    assert (answer.status, answer.header["content-type"]) == (200, "text/xml")
    assert answer.body == b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
    (found,) = await world.unmatched("SM1")
    assert (found.status, found.code, found.reason, found.provider_code) == ("failed", 2015, "carrier_blocked", "30007")
    signature = RequestValidator("t0ken").compute_signature(url + "?a=b%2F", fields)
    headers = FORM | {"X-Twilio-Signature": signature}
    assert (await world.call(path, urlencode(fields).encode(), headers, query="a=b%2F")).status == 200
    assert (await world.call(path, urlencode(fields).encode(), headers, query="a=b/")).status == 401


async def test_what_a_person_writes_becomes_an_event(world: World):
    connection = await world.connect("twilio", "k-1", auth_token="t0ken")
    fields = {"MessageSid": "SM2", "SmsStatus": "received", "From": "+12025550101", "To": "+18335550100", "Body": "Hi"}
    for _ in range(2):
        answer = await world.call(f"/receipts/{connection}", urlencode(fields).encode(), FORM, query="key=k-1")
        assert answer.status == 200
    assert [(one.kind, one.text, one.address) for one in world.kept] == [("inbound", "Hi", "+12025550101")] * 2


async def test_strangers_learn_nothing_from_what_is_refused(world: World):
    second = world.keys.workspace_id + 1
    sendgrid = await world.connect("sendgrid", "k-1", webhook_public_key=PUBLIC)
    twilio = await world.connect("twilio", auth_token="t0ken")
    pinpoint = await world.connect("aws-pinpoint", "k-2")
    keyless = await world.connect("sendgrid")
    events = await world.connect("klaviyo", "k-4")
    foreign = await world.connect("http", "k-3", workspace=second)
    body = email_events(1)
    wrong = from_sendgrid(body, ec.generate_private_key(ec.SECP256R1()))
    asked = [
        (sendgrid, JSON, ""),
        (sendgrid, wrong, ""),
        (sendgrid, from_sendgrid(body + b" "), ""),
        (sendgrid, from_sendgrid(body, late_s=-3600), ""),
        # The keys of other connections, of this workspace and of another.
        (sendgrid, JSON, "key=k-2"),
        (sendgrid, JSON, "key=k-3"),
        (foreign, JSON, "key=k-1"),
        (pinpoint, from_firehose("k-1"), ""),
        (twilio, FORM | {"X-Twilio-Signature": "x"}, ""),
        (keyless, from_sendgrid(body), ""),
        (events, JSON, "key=k-4"),
        ("con_0000000000000001", from_sendgrid(body), "key=k-1"),
        ("con_1", JSON, ""),
        ("", JSON, ""),
        ("..", JSON, "key=k-1"),
        (sendgrid.upper(), JSON, "key=k-1"),
    ]
    answers = [await world.call(f"/receipts/{name}", body, headers, query=query) for name, headers, query in asked]
    assert {(one.status, one.body, str(one.headers)) for one in answers} == {
        (401, answers[0].body, str(answers[0].headers))
    }
    assert answers[0].json["code"] == "unauthorized"
    assert world.kept == []
    assert (await world.call(f"/receipts/{sendgrid}", body, JSON, query="key=k-1")).status == 200


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"", JSON, 400),
        (b"[]", JSON, 200),
        (b"[5]", JSON, 200),
        (b" " * (1 << 20) + b"[]", JSON, 413),
        (bomb(1024), JSON | {"Content-Encoding": "gzip"}, 413),
        (gzip.compress(b"[]", mtime=0), JSON | {"Content-Encoding": "gzip"}, 200),
        (zlib.compress(b"[]"), JSON | {"Content-Encoding": "deflate"}, 200),
        (b"[]", JSON | {"Content-Encoding": "br"}, 400),
    ],
)
async def test_bodies_of_callbacks(world: World, body: bytes, headers: dict[str, str], status: int):
    connection = await world.connect("http", callback_token="t")
    answer = await world.call(f"/receipts/{connection}", body, headers, query="token=t")
    assert answer.status == status
    assert answer.header["content-type"] == ("application/json" if status == 200 else "application/problem+json")
    assert len([one for one in world.kept if isinstance(one, Quarantined)]) == (1 if body == b"[5]" else 0)


async def test_what_goes_wrong_here_is_not_told(world: World, monkeypatch: pytest.MonkeyPatch):
    connection = await world.connect("http", "k-1")

    async def fail(*_: Any) -> Any:
        raise RuntimeError("a secret")

    monkeypatch.setattr(type(world.engine.connections), "by_receipts_key", fail)
    answer = await world.call(TRACKER, delivery(), from_firehose())
    check_stream_answer(answer, 500)
    assert b"secret" not in answer.body
    answer = await world.call(f"/receipts/{connection}", b"[]", JSON, query="key=k-1")
    assert (answer.status, answer.json["code"]) == (500, "internal")
    assert b"secret" not in answer.body


async def test_other_paths_are_for_others(world: World):
    for path in ("/receipts", "/receipts/con_1/more", TRACKER + "/", "/tracking"):
        answer = await world.call(path, b"", JSON | {"authorization": f"Bearer {world.keys.manage}"})
        assert (answer.status, answer.json["code"]) == (404, "no_such_route"), path
    assert internal("con", "con_0000000000000001") == 1
