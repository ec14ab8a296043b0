"""The text-message API over HTTP: every answer, who may send, and what the caller sees of a text."""

import gzip
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.calling import Keys, bearer, eventually, ok, refused, serve
from tests.api.edge.test_receipts import TRACKER, delivery, from_firehose, sms_event
from waypost.clock import DAY, HOUR, SECOND
from waypost.domain.texts.request import BODY_BYTES
from waypost.engine.process import Engine
from waypost.engine.texts.clients import TRUST_S
from waypost.errors import Unavailable
from waypost.sink.thread_runner import Running

SEND = "/text/message/send"
ANN, BOB = "+12025550101", "+12025550102"
CONFIG = {"region": "us-east-1", "project_id": "shop", "access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "secret"}


def body(**changes: Any) -> dict[str, Any]:
    """A request to text Ann, as a Klaviyo flow sends it."""
    return {
        "phone": ANN,
        "email": "",
        "text": "Happy birthday!",
        "callbackData": '{"profileID":"01K","metricName":"Birthday"}',
        "sendPurpose": "Birthday",
    } | changes


class Sender:
    """A workspace with a text client, and a caller that sends as this client."""

    def __init__(self, engine: Engine, api_key: str) -> None:
        transport = httpx.ASGITransport(app=serve(engine))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://waypost", headers=bearer(api_key))
        self.headers: dict[str, str] = {}
        self.client: dict[str, Any] = {}

    async def make_client(self, **fields: Any) -> dict[str, Any]:
        """Create a text client and send as it from now on."""
        made = await ok(
            self.http.post("/v1/text-clients", json={"name": "klaviyo", "check_links": "never"} | fields), 201
        )
        self.client = made
        self.headers = {"x-client-id": made["client_id"], "x-client-secret": made["client_secret"]}
        return self.client

    async def connect(self, sink: Running, **fields: Any) -> dict[str, Any]:
        """Create a connection for SMS to the sink."""
        wish = {"name": "Pinpoint", "connector": "aws-pinpoint", "config": CONFIG | {"endpoint_url": sink.url}}
        made: dict[str, Any] = await ok(
            self.http.post("/v1/connectors", json=wish | {"skip_check": True} | fields), 201
        )
        return made

    async def subscribe(self, *numbers: str) -> None:
        """Record that their owners opted in."""
        for number in numbers:
            consent = {"channel": "sms", "address": number, "state": "opted_in"}
            await ok(self.http.put("/v1/consents", json=consent))

    async def send(self, content: Any = None, **changes: Any) -> httpx.Response:
        """Send a text: raw bytes, or a body with these changes."""
        data = content if content is not None else json.dumps(body(**changes)).encode()
        return await self.http.post(SEND, content=data, headers={"authorization": ""} | self.headers)

    async def message(self, id_: str) -> dict[str, Any]:
        found: dict[str, Any] = await ok(self.http.get(f"/v1/messages/{id_}"))
        return found

    async def came_to(self, id_: str, status: str) -> dict[str, Any]:
        """Return the message once it shows this status of the text API."""

        async def check() -> dict[str, Any] | None:
            found = await self.message(id_)
            return found if found["text_status"] == status else None

        found: dict[str, Any] = await eventually(check)
        return found

    async def reported(self, id_: str) -> list[str]:
        """Return the statuses that were reported of a text, in order."""
        events = (await ok(self.http.get("/v1/events?type=text.status&limit=1000")))["data"]
        mine = [event["data"] for event in reversed(events) if event["data"]["MessageID"] == id_]
        return [data["Status"] for data in mine]


@pytest.fixture
async def sender(engine: Engine, keys: Keys) -> AsyncIterator[Sender]:
    """A sender of the first workspace, without a connection."""
    made = Sender(engine, keys.manage)
    await made.make_client()
    yield made
    await made.http.aclose()


@pytest.fixture
async def ready(sender: Sender, sink: Running) -> Sender:
    """A sender with a connection that sends nothing before the test is over, and Ann who is subscribed."""
    await sender.connect(sink, per_second=0.001)
    await sender.subscribe(ANN)
    # The first message of the connection takes its only token.
    await ok(sender.http.post("/v1/messages", json={"channel": "sms", "to": BOB, "text": "first"}), 202)
    return sender


class HeldClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.ns = time.time_ns()

    def __call__(self) -> int:
        return self.ns

    def move(self, micros: int) -> None:
        self.ns += micros * 1000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HeldClock:
    made = HeldClock()
    monkeypatch.setattr("time.time_ns", made)
    return made


async def test_a_text_shows_its_status_at_each_step(sender: Sender, sink: Running):
    connection = await sender.connect(sink)
    await sender.subscribe(ANN)
    await ok(sender.http.post(f"/v1/connections/{connection['id']}/disable"))
    # The order of the channel has this connection only, so nothing can be sent.
    await refused(sender.send(), 503, "no_connection")
    await ok(sender.http.post(f"/v1/connections/{connection['id']}/enable"))
    answer = await ok(sender.send())
    assert answer.keys() == {"messageId", "status"}
    assert answer["status"] == "PENDING_TO_SEND"
    id_ = answer["messageId"]
    sent = await sender.came_to(id_, "SENDING")
    assert (sent["status"], sent["to"], sent["campaign"]) == ("sent", ANN, "Birthday")
    receipt = delivery(sms_event(sent["provider_message_id"]))
    key = connection["access_key_for_receipts"]
    assert (await sender.http.post(TRACKER, content=receipt, headers=from_firehose(key))).status_code == 200
    await sender.came_to(id_, "DELIVERED")
    assert await sender.reported(id_) == ["PENDING_TO_SEND", "SENDING", "DELIVERED"]
    profile_events = (await ok(sender.http.get("/v1/events?type=text.requested")))["data"]
    assert [event["data"]["MessageID"] for event in profile_events] == [id_]
    # Any other message has no status of the text API.
    other = await ok(sender.http.post("/v1/messages", json={"channel": "sms", "to": BOB, "text": "Hi"}), 202)
    assert (await sender.message(other["id"]))["text_status"] is None


@pytest.mark.parametrize(
    ("event", "status"), [("TEXT_UNREACHABLE", "FAILED_TO_DELIVERY"), ("TEXT_DELIVERED", "DELIVERED")]
)
async def test_what_the_carrier_reports(sender: Sender, sink: Running, event: str, status: str):
    connection = await sender.connect(sink)
    await sender.subscribe(ANN)
    id_ = (await ok(sender.send()))["messageId"]
    sent = await sender.came_to(id_, "SENDING")
    receipt = delivery(sms_event(sent["provider_message_id"], event))
    headers = from_firehose(connection["access_key_for_receipts"])
    assert (await sender.http.post(TRACKER, content=receipt, headers=headers)).status_code == 200
    await sender.came_to(id_, status)
    assert await sender.reported(id_) == ["PENDING_TO_SEND", "SENDING", status]


async def test_what_was_never_handed_over_failed_to_send(ready: Sender):
    id_ = (await ok(ready.send()))["messageId"]
    assert (await ready.message(id_))["text_status"] == "PENDING_TO_SEND"
    await ok(ready.http.post(f"/v1/messages/{id_}/cancel"))
    assert (await ready.message(id_))["text_status"] == "FAILED_TO_SEND"
    assert await ready.reported(id_) == ["PENDING_TO_SEND", "FAILED_TO_SEND"]


async def test_final_answers_are_messages_too(ready: Sender):
    await ok(ready.http.put("/v1/consents", json={"channel": "sms", "address": BOB, "state": "opted_out"}))
    for changes, status in (
        ({"phone": "+12025550199"}, "NOT_FOUND"),
        ({"phone": BOB}, "NOT_SUBSCRIBED"),
        ({"phone": "", "email": "nobody@example.com"}, "FAILED_TO_MATCH"),
    ):
        answer = await ok(ready.send(**changes))
        assert answer["status"] == status
        message = await ready.message(answer["messageId"])
        assert (message["status"], message["text_status"]) == ("skipped", status)
        assert await ready.reported(answer["messageId"]) == [status]


async def test_an_email_names_the_person_of_a_number(ready: Sender):
    traits = {"email": "ann@example.com", "phone": ANN}
    await ok(ready.http.post("/v1/identify", json={"userId": "ann", "traits": traits}))
    first = await ok(ready.send(phone="", email="Ann@Example.com"))
    assert first["status"] == "PENDING_TO_SEND"
    repeat = await refused(ready.send(), 409, "duplicate_message")
    assert repeat["messageId"] == first["messageId"]
    message = await ready.message(first["messageId"])
    assert (message["to"], message["profile_id"] is not None) == (ANN, True)


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"phone": "555"}, "phone", "invalid_phone"),
        ({"phone": "(202) 555-0101"}, "phone", "invalid_phone"),
        ({"phone": ""}, "phone", "no_recipient"),
        ({"phone": "", "email": "not an address"}, "email", "invalid_email"),
        ({"phone": True}, "phone", "invalid_body"),
        ({"text": ""}, "text", "missing_field"),
        ({"text": None}, "text", "missing_field"),
        ({"text": 7}, "text", "invalid_body"),
        ({"text": "x" * 1601}, "text", "text_too_long"),
        ({"text": "a\0b"}, "text", "invalid_text"),
        ({"sendPurpose": " "}, "sendPurpose", "missing_field"),
        ({"sendPurpose": "p" * 101}, "sendPurpose", "invalid_field"),
        ({"sendPurpose": "a\nb"}, "sendPurpose", "invalid_field"),
        ({"clickUrl": "javascript:alert(1)"}, "clickUrl", "invalid_url"),
        ({"mediaUrl": "cake.jpg"}, "mediaUrl", "invalid_url"),
        ({"callbackData": None}, "callbackData", "invalid_callback_data"),
        ({"callbackData": {"profileID": "1"}}, "callbackData", "invalid_body"),
        ({"callbackData": "{}"}, "callbackData", "invalid_callback_data"),
        ({"callbackData": "[1]"}, "callbackData", "invalid_callback_data"),
        ({"callbackData": '{"profileID":""}'}, "callbackData", "invalid_callback_data"),
        ({"callbackData": '{"profileID":"1","n":1e999}'}, "callbackData", "invalid_callback_data"),
        ({"callbackData": '{"profileID":"1","n":123456789012345678901}'}, "callbackData", "invalid_callback_data"),
        (
            {"callbackData": '{"profileID":"1","a":' + "[" * 40 + "]" * 40 + "}"},
            "callbackData",
            "invalid_callback_data",
        ),
        ({"callbackData": '{"profileID":"1","a":"' + "x" * 70_000 + '"}'}, "callbackData", "invalid_callback_data"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_wrong_is_named(ready: Sender, changes: dict[str, Any], field: str, code: str):
    problem = await refused(ready.send(**changes), 400, code)
    assert problem["field"] == field
    assert field in problem["detail"] or code in ("no_recipient", "invalid_phone", "invalid_email")
    # Nothing was recorded: the corrected request is no repeat.
    assert (await ok(ready.http.get("/v1/events?type=text.requested")))["data"] == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"text": "\xff"}',
        b'{"text": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b'{"firstName": "Ann "the cat""}',
        b"[" * 100_000,
        b'{"a":' * 20_000,
    ],
)
async def test_what_is_not_a_json_object(ready: Sender, content: bytes):
    answer = await ready.send(content)
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] in ("invalid_json", "invalid_body")


async def test_unknown_fields_are_ignored_and_bodies_may_be_compressed(ready: Sender):
    first = await ok(ready.send(text="one", coupon={"code": 1}, Phone="+1"))
    assert first["status"] == "PENDING_TO_SEND"
    packed = gzip.compress(json.dumps(body(text="two")).encode())
    headers = ready.headers | {"content-encoding": "gzip", "authorization": ""}
    assert (await ok(ready.http.post(SEND, content=packed, headers=headers)))["status"] == "PENDING_TO_SEND"
    await refused(ready.http.post(SEND, content=packed[:-9], headers=headers), 400, "invalid_encoding")
    await refused(
        ready.http.post(SEND, content=b"x", headers=headers | {"content-encoding": "br"}), 400, "invalid_encoding"
    )


async def test_a_body_that_is_too_large(ready: Sender):
    await refused(ready.send(b" " * (BODY_BYTES + 1)), 413, "too_large")
    bomb = gzip.compress(b" " * (BODY_BYTES + 1))
    assert len(bomb) < 1000
    headers = ready.headers | {"content-encoding": "gzip", "authorization": ""}
    await refused(ready.http.post(SEND, content=bomb, headers=headers), 413, "too_large")

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65_536

    await refused(
        ready.http.post(SEND, content=endless(), headers=ready.headers | {"authorization": ""}), 413, "too_large"
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"])
async def test_other_methods(ready: Sender, method: str):
    answer = await ready.http.request(method, SEND, headers=ready.headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    # A browser page of another origin may not send texts.
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-client-id": ""},
        {"x-client-secret": ""},
        {"x-client-id": "wtc_000000000000000000000000"},
        {"x-client-secret": "wts_wrong"},
        {"x-client-secret": "x" * 60_000},
        {"x-client-id": "x" * 60_000},
        {"x-client-secret": "sécret".encode("latin-1")},
        {"x-client-id": "clïent".encode("latin-1")},
        {"x-client-id": b"\x00", "x-client-secret": b"\xff"},
    ],
    ids=lambda value: str(value)[:40],
)
async def test_wrong_credentials(ready: Sender, headers: dict[str, Any]):
    given: Any = (ready.headers if headers else {}) | headers
    problem = await refused(
        ready.http.post(SEND, json=body(), headers={"authorization": ""} | given), 401, "unauthorized"
    )
    assert "X-Client-Secret" in problem["detail"]
    assert ready.client["client_secret"] not in problem["detail"]


async def test_an_api_key_sends_no_text(ready: Sender):
    await refused(ready.http.post(SEND, json=body()), 401, "unauthorized")


async def test_a_deleted_client_is_refused_at_once_and_its_texts_go_on(ready: Sender):
    id_ = (await ok(ready.send()))["messageId"]
    assert (await ready.http.delete(f"/v1/text-clients/{ready.client['id']}")).status_code == 204
    await refused(ready.send(text="another"), 401, "unauthorized")
    assert (await ready.message(id_))["text_status"] == "PENDING_TO_SEND"
    await refused(ready.http.delete(f"/v1/text-clients/{ready.client['id']}"), 404, "not_found")


async def test_two_secrets_are_valid_until_the_overlap_ends(ready: Sender, clock: HeldClock):
    old = dict(ready.headers)
    place = f"/v1/text-clients/{ready.client['id']}"
    rotated = await ok(ready.http.post(f"{place}/rotate", json={"overlap_s": 3600}))
    new = old | {"x-client-secret": rotated["client_secret"]}
    assert rotated["secrets"] == 2

    async def accepted(headers: dict[str, str], text: str) -> bool:
        ready.headers = headers
        answer = await ready.send(text=text)
        assert answer.status_code in (200, 401), answer.text
        return answer.status_code == 200

    assert await accepted(old, "1")
    assert await accepted(new, "2")
    clock.move(HOUR - 1)
    assert await accepted(old, "3")
    clock.move(1)
    assert not await accepted(old, "4")
    assert await accepted(new, "5")
    shown = await ok(ready.http.get(place))
    assert shown["secrets"] == 1
    assert "client_secret" not in shown
    # Without an overlap the previous one ends at once.
    newest = await ok(ready.http.post(f"{place}/rotate", json={"overlap_s": 0}))
    assert not await accepted(new, "6")
    assert await accepted(new | {"x-client-secret": newest["client_secret"]}, "7")


async def test_a_repeat_is_refused_for_24_hours(ready: Sender, clock: HeldClock):
    first = await ok(ready.send())
    clock.move(DAY - 1)
    problem = await refused(ready.send(), 409, "duplicate_message")
    assert problem["messageId"] == first["messageId"]
    assert (await ok(ready.send(text="another")))["status"] == "PENDING_TO_SEND"
    assert (await ok(ready.send(sendPurpose="another")))["status"] == "PENDING_TO_SEND"
    clock.move(1)
    second = await ok(ready.send())
    assert second["messageId"] != first["messageId"]
    problem = await refused(ready.send(), 409, "duplicate_message")
    assert problem["messageId"] == second["messageId"]


async def test_the_rate_of_a_client(ready: Sender, clock: HeldClock):
    await ready.make_client(rate_limit=2)
    assert [(await ready.send(text=f"{n}")).status_code for n in range(2)] == [200, 200]
    answer = await ready.send(text="third")
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (429, "rate_limited", "1")
    assert "retry_after" not in answer.json()
    # A repeat is no text: it takes nothing of the rate, and is told so even when the rate is used up.
    await refused(ready.send(text="1"), 409, "duplicate_message")
    clock.move(SECOND // 2)
    assert (await ready.send(text="third")).status_code == 200
    assert (await ready.send(text="fourth")).status_code == 429
    # A change of the rate counts at once.
    await ok(ready.http.patch(f"/v1/text-clients/{ready.client['id']}", json={"rate_limit": 0.01}))
    clock.move(100 * SECOND)
    assert (await ready.send(text="fourth")).status_code == 200
    answer = await ready.send(text="fifth")
    assert answer.status_code == 429
    assert 100 <= int(answer.headers["retry-after"]) <= 101


async def test_nothing_can_be_sent(sender: Sender, sink: Running):
    await sender.subscribe(ANN)
    answer = await sender.send()
    assert (answer.status_code, answer.json()["code"]) == (503, "no_connection")
    assert int(answer.headers["retry-after"]) >= 1
    # Neither can a client whose own connection is disabled, whatever others there are.
    own = await sender.connect(sink, name="own")
    await sender.connect(sink, name="other")
    await sender.make_client(connection_id=own["id"])
    await ok(sender.http.post(f"/v1/connections/{own['id']}/disable"))
    await refused(sender.send(), 503, "no_connection")
    await ok(sender.http.post(f"/v1/connections/{own['id']}/enable"))
    assert (await ok(sender.send()))["status"] == "PENDING_TO_SEND"


async def test_the_store_is_away(ready: Sender, engine: Engine, monkeypatch: pytest.MonkeyPatch):
    async def away(*_: Any) -> None:
        raise Unavailable("The database is not available. Retry in a moment.")

    with monkeypatch.context() as patch:
        patch.setattr(engine.database, "transact", away)
        answer = await ready.send()
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "unavailable", "1")
    # Nothing was stored, so it is no repeat.
    assert (await ok(ready.send()))["status"] == "PENDING_TO_SEND"


async def test_two_workspaces_do_not_see_each_other(ready: Sender, engine: Engine, keys: Keys, sink: Running):
    other = Sender(engine, keys.stranger)
    await other.make_client(name="theirs")
    await other.connect(sink, per_second=0.001)
    first = await ok(ready.send())
    # The subscription of the first workspace is none of the second one.
    assert (await ok(other.send()))["status"] == "NOT_FOUND"
    await other.subscribe(ANN)
    second = await ok(other.send())
    assert (second["status"], second["messageId"] != first["messageId"]) == ("PENDING_TO_SEND", True)
    await refused(other.http.get(f"/v1/messages/{first['messageId']}"), 404, "not_found")
    await refused(other.http.get(f"/v1/text-clients/{ready.client['id']}"), 404, "not_found")
    assert [one["name"] for one in (await ok(other.http.get("/v1/text-clients")))["data"]] == ["theirs"]
    mixed = {"x-client-id": other.headers["x-client-id"], "x-client-secret": ready.headers["x-client-secret"]}
    other.headers = mixed
    await refused(other.send(text="another"), 401, "unauthorized")
    await other.http.aclose()


async def test_the_webhook_of_a_client_gets_its_statuses_only(ready: Sender, sink: Running, hook: str):
    made = await ready.make_client(callback={"kind": "webhook", "url": hook})
    id_ = (await ok(ready.send(callbackData='{"profileID":"01K","big":9007199254740993,"a":"é\\u0000"}')))["messageId"]
    mine = dict(ready.headers)
    await ready.make_client(name="another")
    await ok(ready.send(text="of another client"))
    ready.headers = mine
    other_id = (await ok(ready.send(text="second")))["messageId"]
    name = hook.rpartition("/")[2]

    async def received() -> Any:
        async with httpx.AsyncClient() as http:
            found = (await http.get(f"{sink.url}/received?name={name}")).json()["data"]
        return found if len(found) >= 2 else None

    found = [json.loads(one["body"]) for one in await eventually(received)]
    assert {one["data"]["MessageID"] for one in found} == {id_, other_id}
    assert {one["type"] for one in found} == {"text.status"}
    (first,) = [one["data"] for one in found if one["data"]["MessageID"] == id_]
    assert first["callbackData"] == {"profileID": "01K", "big": 9007199254740993, "a": "é\0"}
    assert (first["Status"], first["client_id"]) == ("PENDING_TO_SEND", made["client_id"])
    ledger = await ok(ready.http.get(f"/v1/webhooks/{made['endpoint_id']}"))
    assert ledger["counts"]["accepted"] == 2


def test_a_client_is_cached_for_two_seconds_at_most():
    assert TRUST_S <= 2
