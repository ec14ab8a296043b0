"""The statuses of texts as Klaviyo's API takes them, compared with sample bodies."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from waypost.clock import now_us
from waypost.domain.webhooks import klaviyo
from waypost.domain.webhooks.endpoint import event_object, webhook_body
from waypost.sink.providers.klaviyo_events import fault_of_event, fault_of_job

VECTORS = json.loads((Path(__file__).parent / "klaviyo_create_event.json").read_text())
SECOND = 1_000_000
#: The largest request that Klaviyo accepts.
LARGEST = 5_000_000
#: 2026-09-21T13:00:01Z.
AT = 1_789_995_601 * SECOND
PERSON = "01KPROFILEMADEUP0000000000"


def body(status: str = "PENDING_TO_SEND", at: int = AT, callback_data: str | None = None, **fields: Any) -> bytes:
    """The webhook body of a status of a text."""
    about = f'{{"profileID":"{PERSON}","metricName":"Birthday SMS","flow":"Birthday SMS"}}'
    data: dict[str, Any] = {
        "MessageID": "wk-1001",
        "Status": status,
        "metricName": "Birthday SMS",
        "callbackData": msgspec.Raw((callback_data or about).encode()),
        "sendPurpose": "Birthday",
        "client_id": "wtc_1",
    } | fields
    return webhook_body("text.status", at, event_object(7, f"wk-1001:{status}", None, msgspec.json.encode(data)))


def attributes(made: bytes) -> dict[str, Any]:
    """The attributes of the event in a body of Create Event."""
    found: dict[str, Any] = json.loads(made)["data"]["attributes"]
    return found


@pytest.mark.parametrize(
    "sample", VECTORS["bodies"], ids=lambda sample: sample["data"]["attributes"]["properties"]["Status"]
)
def test_a_status_becomes_the_event_of_the_sample(sample):
    wanted = sample["data"]["attributes"]
    status = wanted["properties"]["Status"]
    made = json.loads(klaviyo.create_event(body(status, AT + (3 * SECOND if status == "DELIVERED" else 0))))
    found = made["data"]["attributes"]
    # Besides what the sample has: the time as a property, and in milliseconds.
    assert found["properties"].pop("Time") == found["time"]
    assert found["time"][:19] == wanted["time"][:19]
    assert made["data"]["type"] == "event"
    assert found | {"time": wanted["time"]} == wanted


def test_the_three_statuses_of_one_second_stay_three():
    made = [klaviyo.create_event(body(status)) for status in ("PENDING_TO_SEND", "SENDING", "DELIVERED")]
    assert len({attributes(one)["unique_id"] for one in made}) == 3


def test_a_failure_tells_its_code_and_reason():
    made = attributes(klaviyo.create_event(body("FAILED_TO_DELIVERY", code=2009, reason="unreachable")))
    assert made["properties"]["FailureCode"] == 2009
    assert made["properties"]["FailureReason"] == "unreachable"
    assert "FailureCode" not in attributes(klaviyo.create_event(body()))["properties"]


def test_callback_data_is_passed_on_byte_for_byte():
    values = '"big":18446744073709551615,"long":0.10000000000000000555,"é":"\\u0041","deep":{"a":[1,{"b":null}]}'
    made = klaviyo.create_event(body(callback_data=f'{{"profileID":"{PERSON}",{values}}}'))
    for value in ("18446744073709551615", "0.10000000000000000555", '"\\u0041"', '{"a":[1,{"b":null}]}'):
        assert value.encode() in made
    assert json.loads(made)["data"]["attributes"]["properties"]["é"] == "A"


def test_only_what_the_api_promises_replaces_a_property_of_the_caller():
    own = f'{{"profileID":"{PERSON}","MessageID":"mine","Status":"mine","Time":"mine","FailureReason":"mine"}}'
    properties = attributes(klaviyo.create_event(body(callback_data=own, code=1, reason="spam")))["properties"]
    assert (properties["MessageID"], properties["Status"]) == ("wk-1001", "PENDING_TO_SEND")
    assert (properties["Time"], properties["FailureReason"], properties["FailureCode"]) == ("mine", "mine", 1)


def test_a_profile_id_may_be_a_number():
    made = attributes(klaviyo.create_event(body(callback_data='{"profileID":12345678901234567890}')))
    assert made["profile"]["data"]["id"] == "12345678901234567890"


def test_several_become_one_bulk_request_in_order():
    bodies = [body("PENDING_TO_SEND"), body("SENDING", at=AT + SECOND), body("DELIVERED", MessageID="wk-1002")]
    made = json.loads(klaviyo.create_events(bodies))["data"]
    assert made["type"] == "event-bulk-create-job"
    groups = made["attributes"]["events-bulk-create"]["data"]
    for group, one in zip(groups, bodies, strict=True):
        alone = attributes(klaviyo.create_event(one))
        assert group["type"] == "event-bulk-create"
        assert group["attributes"]["profile"] == alone.pop("profile")
        assert group["attributes"]["events"] == {"data": [{"type": "event", "attributes": alone}]}


def test_the_largest_text_that_is_accepted_is_within_the_limits():
    """The text API accepts 350 properties and 64 KB of `callbackData`."""
    many = {"profileID": PERSON} | {f"name {number}": "x" * 150 for number in range(349)}
    long = {"profileID": PERSON, "text": "é" * 30_000}
    for data in (many, long):
        made = klaviyo.create_event(body("FAILED_TO_SEND", callback_data=json.dumps(data), code=1, reason="r"))
        assert fault_of_event(json.loads(made), now_us()) is None
        assert len(made) < LARGEST
    # A bulk request of bodies that have MOST_BYTES together stays below 5 MB.
    one = body(callback_data=json.dumps({"profileID": PERSON}))
    count = min(klaviyo.MOST_EVENTS, klaviyo.MOST_BYTES // len(one))
    job = klaviyo.create_events([one] * count)
    assert fault_of_job(json.loads(job), now_us()) is None
    assert len(job) < LARGEST


def test_the_headers_have_the_key_and_the_revision():
    lines = klaviyo.header_lines({"api_key": "pk_made_up", "revision": "2026-07-15"})
    assert lines == [f"{name}: {value}" for name, value in VECTORS["http"]["headers"].items()]


@pytest.mark.parametrize("wrong", [b"{}", b'{"timestamp":"x","data":{"a":1}}', b"nothing"])
def test_another_event_is_refused(wrong):
    with pytest.raises(msgspec.MsgspecError):
        klaviyo.create_event(wrong)
