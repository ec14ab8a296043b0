"""Every record that Firehose delivers becomes receipts, or is quarantined."""

import base64
import json
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from waypost.domain.messaging.message import Receipt, Status
from waypost.domain.messaging.receipt import QUARANTINED_BYTES, Quarantined
from waypost.domain.providers.aws.firehose import read_delivery, read_event, read_records
from waypost.domain.values.ids import public
from waypost.errors import Invalid

NOW = 1_795_000_000_000_000
AT_MS = 1_790_000_002_000
MID = 0x00061C7F3A2B1C04
NAME = public("msg", MID)


def pinpoint(type_: str = "_SMS.SUCCESS", status: str | None = "DELIVERED", **changes: Any) -> dict[str, Any]:
    """Return an event of Pinpoint with changed attributes; None removes one."""
    attributes: dict[str, Any] = {
        "sender_request_id": "3b0c1c1a-0000-4000-8000-000000000001",
        "origination_phone_number": "+18335550100",
        "destination_phone_number": "+12025550101",
        "record_status": status,
        "iso_country_code": "US",
        "mcc_mnc": "310260",
        "treatment_id": "0",
        "number_of_message_parts": "2",
        "message_id": "pm-0001",
        "message_type": "Promotional",
        "customer_context": json.dumps({"mid": NAME}),
        **changes,
    }
    return {
        "event_type": type_,
        "event_timestamp": AT_MS,
        "arrival_timestamp": AT_MS - 250,
        "event_version": "3.1",
        "application": {"app_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "sdk": {}},
        "client": {"client_id": "ep-001"},
        "device": {"platform": {}},
        "session": {},
        "attributes": {name: value for name, value in attributes.items() if value is not None},
        "metrics": {"price_in_millicents_usd": 645.0},
        "awsAccountId": "111122223333",
    }


def eum(type_: str = "TEXT_DELIVERED", **changes: Any) -> dict[str, Any]:
    """Return an event of End User Messaging."""
    event: dict[str, Any] = {
        "eventType": type_,
        "eventVersion": "1.0",
        "eventTimestamp": AT_MS,
        "isFinal": True,
        "originationPhoneNumber": "+18335550100",
        "destinationPhoneNumber": "+12025550101",
        "isoCountryCode": "US",
        "mcc": "310",
        "mnc": "260",
        "carrierName": "Example Mobile",
        "messageId": "em-0001",
        "messageRequestTimestamp": AT_MS - 1000,
        "messageEncoding": "GSM",
        "messageType": "PROMOTIONAL",
        "messageStatus": type_.removeprefix("TEXT_"),
        "messageStatusDescription": "As it should be",
        "context": {"mid": NAME, "campaign": "c-7"},
        "totalMessageParts": 3,
        "totalMessagePrice": 0.00581,
        "totalCarrierFee": 0.003,
        **changes,
    }
    return {name: value for name, value in event.items() if value is not None}


def record(*contents: Any, between: str = "\n") -> Raw:
    text = between.join(one if isinstance(one, str) else json.dumps(one) for one in contents)
    return Raw(json.dumps({"data": base64.b64encode(text.encode()).decode()}).encode())


def read(*records: Raw) -> tuple[list[Receipt], list[Quarantined]]:
    found = read_records(records, 1, 2, NOW)
    assert all((one.workspace_id, one.connection_id) == (1, 2) for one in found)
    return [r for r in found if isinstance(r, Receipt)], [q for q in found if isinstance(q, Quarantined)]


def one(event: Any) -> Receipt:
    receipts, broken = read(record(event))
    assert not broken
    assert len(receipts) == 1
    return receipts[0]


def test_an_event_of_pinpoint():
    assert one(pinpoint()) == Receipt(
        workspace_id=1,
        connection_id=2,
        message_id=MID,
        provider_message_id="pm-0001",
        occurred_at=AT_MS * 1000,
        status=Status.DELIVERED,
        provider_code="DELIVERED",
        address="+12025550101",
        parts=2,
        price_micros=6450,
        currency="USD",
        carrier="310260",
        country="US",
    )


def test_an_event_of_end_user_messaging():
    assert one(eum("TEXT_CARRIER_BLOCKED")) == Receipt(
        workspace_id=1,
        connection_id=2,
        message_id=MID,
        provider_message_id="em-0001",
        occurred_at=AT_MS * 1000,
        status=Status.FAILED,
        code=2015,
        reason="carrier_blocked",
        provider_code="TEXT_CARRIER_BLOCKED",
        detail="As it should be",
        address="+12025550101",
        parts=3,
        price_micros=5810,
        currency="USD",
        carrier="Example Mobile",
        country="US",
        properties={"carrier_fee_micros": 3000},
    )


def test_a_buffered_message_moves_nothing_and_has_no_price():
    event = pinpoint("_SMS.BUFFERED", "PENDING") | {"metrics": {}}
    found = one(event)
    assert (found.status, found.provider_code, found.price_micros, found.currency) == (None, "PENDING", None, None)
    del event["metrics"]
    assert one(event) == found


def test_an_opt_out():
    found = one(pinpoint("_SMS.OPTOUT", None))
    assert (found.status, found.suppress, found.address) == (None, "opted_out", "+12025550101")
    assert found.provider_code == "_SMS.OPTOUT"


def test_a_status_that_nobody_knows_is_kept_verbatim():
    found = one(pinpoint("_SMS.FAILURE", "TELEPORTED"))
    assert (found.status, found.code, found.reason) == (Status.FAILED, 9988, "unrecognised:TELEPORTED")
    assert found.provider_code == "TELEPORTED"


@pytest.mark.parametrize(
    "event",
    [
        pinpoint(),
        pinpoint(customer_context={"mid": NAME}),
        pinpoint(customer_context=None, mid=NAME),
        pinpoint(customer_context=None) | {"client_context": {"custom": {"mid": NAME}}},
        pinpoint(customer_context=None) | {"client_context": {"custom": json.dumps({"mid": NAME})}},
        eum(),
        eum(context=json.dumps({"mid": NAME})),
    ],
)
def test_our_id_is_found_wherever_aws_puts_it(event: dict[str, Any]):
    assert one(event).message_id == MID


@pytest.mark.parametrize(
    "event",
    [
        pinpoint(customer_context=None),
        pinpoint(customer_context="{not json"),
        pinpoint(customer_context=json.dumps({"mid": "m-0001"})),
        pinpoint(customer_context=json.dumps({"mid": ["msg"]})),
        pinpoint(customer_context="[1]"),
        pinpoint(customer_context=None) | {"client_context": {}},
        eum(context=None),
        eum(context={}),
        eum(context={"mid": "msg_zz"}),
        eum(context={"mid": 5}),
    ],
)
def test_an_id_that_is_none_of_ours_is_left_out(event: dict[str, Any]):
    found = one(event)
    assert found.message_id is None
    assert found.provider_message_id


def test_units_of_both_products():
    assert one(pinpoint(number_of_message_parts=4)).parts == 4
    assert one(pinpoint(number_of_message_parts="many")).parts is None
    assert one(eum(totalMessageParts="5")).parts == 5
    assert one(eum(totalMessagePrice="0.01")).price_micros == 10_000
    assert one(eum(totalMessagePrice=None)).currency is None
    assert one(eum(carrierName=None)).carrier == "310260"
    assert one(eum(carrierName=None, mcc=None, mnc=None)).carrier is None
    assert one(eum(eventTimestamp=None)).occurred_at == NOW
    assert one(eum(eventTimestamp=-1)).occurred_at == NOW


@pytest.mark.parametrize(
    "event",
    [
        {"event_type": "_email.delivered", "attributes": {"x": 1}},
        {"event_type": "_campaign.send", "attributes": 5},
        {"event_type": "_session.start"},
        {"event_type": "cart.filled", "attributes": {"record_status": 9}},
        {"eventType": "VOICE_COMPLETED", "context": {}},
        {"eventType": "VOICE_FAILED", "context": [1]},
        "",
        " \n",
    ],
)
def test_other_kinds_of_records_are_passed_over(event: Any):
    assert read(record(event)) == ([], [])


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "5",
        "[]",
        "{}",
        '{"foo": 1}',
        '{"event_type": "_SMS.SUCCESS"}',
        '{"event_type": "_SMS.SUCCESS", "attributes": []}',
        '{"eventType": "TEXT_DELIVERED", "messageId": 7}',
        '{"eventType": 7}',
        '{"detail": 5}',
        '{"Type": "Notification", "Message": "hello"}',
        '{"originationNumber": 5}',
        '"' + "\ud7ff",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"eventType": "TEXT_DELIVERED", "x": "\\ud800"}',
    ],
)
def test_what_cannot_be_read_is_kept(content: str):
    receipts, broken = read(record(content), record(pinpoint()))
    assert len(receipts) == 1, "a bad record spoils only itself"
    assert [one.body for one in broken] == [content.encode()[:QUARANTINED_BYTES]]
    assert broken[0].reason


@pytest.mark.parametrize(
    "raw", [b"5", b"{}", b'{"data": 5}', b'{"data": "%%%"}', b'{"data": null}', b'{"data": "abc"}']
)
def test_a_record_that_is_none_of_firehose_is_kept(raw: bytes):
    receipts, broken = read(Raw(raw), record(eum()))
    assert len(receipts) == 1
    assert [one.body for one in broken] == [raw]


def test_bytes_that_are_no_text_are_kept():
    data = b"\xff\xfe{}"
    assert read_event(data, 1, 2, NOW) == [
        Quarantined(workspace_id=1, connection_id=2, reason="not UTF-8: invalid start byte", body=data)
    ]


@pytest.mark.parametrize("between", ["", "\n", "\r\n\r\n", "  ", "\n\n"])
def test_one_record_may_hold_several_objects(between: str):
    receipts, broken = read(record(pinpoint(), eum(), pinpoint("_SMS.BUFFERED"), between=between))
    assert [receipt.provider_code for receipt in receipts] == ["DELIVERED", "TEXT_DELIVERED", "DELIVERED"]
    assert not broken
    assert read(record(pinpoint(), "")) == read(record(pinpoint())), "a line end behind it"


def test_pretty_printed_objects_are_objects():
    receipts, broken = read(record(json.dumps(eum(), indent=2), json.dumps(pinpoint(), indent=2)))
    assert (len(receipts), broken) == (2, [])


def test_what_can_be_read_of_a_record_is_read_and_the_rest_is_kept_once():
    receipts, broken = read(record(pinpoint(), "not json", eum(), "{}", "neither", pinpoint()))
    assert len(receipts) == 3
    assert len(broken) == 1


def test_a_record_of_garbage_takes_no_time():
    for content in ("[\n" * 300_000, "x\n" * 300_000, "{" * 600_000, "{}" * 300_000, "1 " * 300_000, " " * 900_000):
        receipts, broken = read(record(content))
        assert not receipts
        assert len(broken) == (0 if content.isspace() else 1)


def wrap_event_bridge(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "e-1",
        "source": "aws.sms-voice",
        "detail-type": "Text Message Delivery Status Updated",
        "detail": event,
    }


def wrap_sns(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": "n-1",
        "TopicArn": "arn:aws:sns:us-east-1:111122223333:t",
        "Message": json.dumps(event),
        "Timestamp": "2026-09-21T14:13:20.000Z",
    }


@pytest.mark.parametrize("event", [pinpoint(), eum()])
def test_wrappings_do_not_matter(event: dict[str, Any]):
    plain = one(event)
    assert one(wrap_event_bridge(event)) == plain
    assert one(wrap_sns(event)) == plain
    assert one(wrap_sns(wrap_event_bridge(event))) == plain
    assert one(wrap_event_bridge(wrap_sns(event))) == plain
    assert one(wrap_event_bridge(json.dumps(event))) == plain  # type: ignore[arg-type]


def test_wrappings_have_an_end():
    event = eum()
    for _ in range(30):
        event = wrap_event_bridge(event)
    receipts, broken = read(record(event))
    assert (receipts, len(broken)) == ([], 1)


def test_other_kinds_may_be_wrapped():
    assert read(record(wrap_sns({"event_type": "_email.open"}))) == ([], [])


def test_a_message_that_came_in():
    inbound = {"originationNumber": "+1", "destinationNumber": "+2", "messageBody": "Stop", "inboundMessageId": "i"}
    for event in (inbound, wrap_sns(inbound)):
        found = one(event)
        assert (found.kind, found.text, found.address, found.own_address) == ("inbound", "Stop", "+1", "+2")


def test_long_words_are_cut():
    found = one(eum(messageStatusDescription="w" * 5000, carrierName="\0" + "c" * 900))
    assert len(found.detail or "") == 500
    assert len(found.carrier or "") == 256
    assert "\0" not in (found.carrier or "")


def test_a_request():
    body = {"requestId": "r-1", "timestamp": 1_790_000_005_000, "records": [{"data": ""}, 5]}
    found = read_delivery(json.dumps(body).encode())
    assert (found.request_id, found.at, len(found.records)) == ("r-1", 1_790_000_005_000_000, 2)
    found = read_delivery(b'{"records": []}')
    assert (found.request_id, found.at, found.records) == (None, None, [])
    assert read_delivery(b'{"records": [], "requestId": 5, "timestamp": "soon"}') == found


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"5", b'{"requestId": "r"}', b'{"records": {}}', b"\xff", b"[" * 100_000]
)
def test_a_body_that_is_none_of_firehose_is_refused(body: bytes):
    with pytest.raises(Invalid, match="not a Firehose request"):
        read_delivery(body)


EVENTS = st.sampled_from(
    [
        pinpoint(),
        pinpoint("_SMS.FAILURE", "BLOCKED", message_id="pm-2"),
        pinpoint("_SMS.BUFFERED", "PENDING"),
        eum(),
        eum("TEXT_INVALID", messageId="em-2"),
        wrap_sns(eum("TEXT_QUEUED")),
        wrap_event_bridge(eum("TEXT_SPAM")),
        {"event_type": "_email.send"},
        "not json",
        "",
    ]
)


def multiset(records: list[Raw]) -> Counter[bytes]:
    return Counter(msgspec.json.encode(found) for found in read_records(records, 1, 2, NOW))


@given(st.lists(EVENTS, max_size=12), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing_else(events: list[Any], dice: Any):
    records = [record(event) for event in events]
    shuffled = records[:]
    dice.shuffle(shuffled)
    once = multiset(records)
    assert multiset(shuffled) == once
    assert multiset(records + shuffled) == once + once
    assert multiset([record(*(e for e in events if e != "not json"))]) == Counter(
        {found: n for found, n in once.items() if b"not json" not in found and b'"body"' not in found}
    )


@given(st.binary(max_size=300))
def test_no_bytes_raise(data: bytes):
    for found in read_event(data, 1, 2, NOW):
        assert isinstance(found, Quarantined)
    raw = Raw(msgspec.json.encode({"data": data}))
    assert all(isinstance(found, Quarantined) for found in read_records([raw], 1, 2, NOW))


VALUE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@settings(max_examples=300)
@given(
    st.sampled_from([pinpoint(), eum()]),
    st.lists(st.tuples(st.integers(0, 60), VALUE | st.lists(VALUE, max_size=2)), max_size=3),
)
def test_no_event_raises_whatever_stands_in_it(event: dict[str, Any], changes: list[tuple[int, Any]]):
    event = json.loads(json.dumps(event))
    for place, value in changes:
        holder = event["attributes"] if place % 2 and isinstance(event.get("attributes"), dict) else event
        names = list(holder)
        holder[names[place // 2 % len(names)]] = value
    receipts, broken = read(Raw(json.dumps({"data": base64.b64encode(msgspec.json.encode(event)).decode()}).encode()))
    assert len(receipts) + len(broken) <= 1
    for receipt in receipts:
        assert msgspec.json.decode(msgspec.json.encode(receipt), type=Receipt) == receipt
