"""Wunderkind's text/message API: its rules, and statuses that arrive as events of a Klaviyo metric."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.sink.hearing import Ear, ask, number, sent, tell
from waypost.sink.providers.wunderkind import STATUSES
from waypost.sink.thread_runner import Running

PHONE = "+12025550101"
DATA = {"profileID": "01KMADEUP", "metricName": "Birthday SMS", "flow": "Birthday SMS", "messageID": "msg_1"}


@pytest.fixture
def sink(shared):
    for name in ("wunderkind", "klaviyo"):
        tell(shared, "PUT", f"/{name}/settings", {})
        tell(shared, "DELETE", f"/fate/{name}")
    tell(shared, "DELETE", "/sent")
    return shared


def text(**changes: Any) -> dict[str, Any]:
    return {
        "phone": PHONE,
        "email": "ines@example.test",
        "text": "Acme: Happy Birthday, Ines!",
        "clickUrl": "https://shop.example.test/bday?utm_api=birthday",
        "mediaUrl": "https://img.example.test/cake.jpg",
        "callbackData": json.dumps(DATA),
        "sendPurpose": "Birthday SMS",
    } | changes


def post(sink: Running, given: Any, **headers: str) -> tuple[int, Mapping[str, str], Any]:
    known = {"x-client-id": "cid-1", "x-client-secret": "sec-1", "content-type": "application/json"}
    body = given if isinstance(given, bytes) else json.dumps(given).encode()
    status, told, answer = ask(sink, "POST", "/wunderkind/text/message/send", body, known | headers)
    return status, told, json.loads(answer)


def statuses(ear: Ear, count: int) -> list[str]:
    found = [json.loads(heard.body)["data"]["attributes"] for heard in ear.several(count)]
    assert all(one["unique_id"] == f"{one['properties']['MessageID']}:{one['properties']['Status']}" for one in found)
    return [one["properties"]["Status"] for one in found]


def test_a_message_is_taken_with_200_and_an_id(sink):
    status, _, told = post(sink, text())
    (taken,) = sent(sink, "wunderkind")
    assert (status, told) == (200, {"messageId": taken["message_id"]})
    assert (taken["address"], taken["mid"], taken["body"]) == (PHONE, "msg_1", "Acme: Happy Birthday, Ines!")


def test_without_a_phone_the_email_counts(sink):
    assert post(sink, text(phone=""))[0] == 200
    assert sent(sink, "wunderkind")[0]["address"] == "ines@example.test"


@pytest.mark.parametrize(
    "changes",
    [
        {"phone": "", "email": ""},
        {"text": ""},
        {"sendPurpose": ""},
        {"callbackData": "{}"},
        {"callbackData": "nope"},
        {"callbackData": "[]"},
        {"callbackData": {"profileID": "p"}},
        {"callbackData": '{"profileID": 7}'},
        {"clickUrl": "shop"},
        {"mediaUrl": "cake.jpg"},
        {"phone": 12025550101},
        {"phone": number("malformed")},
        {"phone": number("rejected")},
    ],
)
def test_what_is_not_valid_is_a_problem(sink, changes):
    status, headers, told = post(sink, text(**changes))
    assert (status, headers["content-type"], told["status"]) == (422, "application/problem+json", 422)
    assert told["detail"]
    assert sent(sink, "wunderkind") == []


def test_a_body_that_is_not_json_is_refused(sink):
    assert post(sink, b"phone=1")[0] == 400
    assert post(sink, b'{"x":' * 200_000)[0] == 400
    assert post(sink, text(callbackData="[" * 200_000))[0] == 422


def test_credentials_have_to_be_there_and_right(sink):
    for headers in ({"x-client-id": ""}, {"x-client-secret": ""}, {"x-client-secret": "wrong"}):
        assert post(sink, text(), **headers)[0] == 401
    told = tell(sink, "PUT", "/wunderkind/settings", {"client_id": "me", "client_secret": "the-one"})
    assert "the-one" not in json.dumps(told)
    assert post(sink, text())[0] == 401
    assert post(sink, text(), **{"x-client-id": "me", "x-client-secret": "the-one"})[0] == 200


def test_the_same_text_for_the_same_purpose_goes_out_once_a_day(sink):
    assert post(sink, text())[0] == 200
    status, _, told = post(sink, text())
    assert (status, told["code"]) == (409, "duplicate")
    assert [post(sink, text(**one))[0] for one in ({"text": "x"}, {"sendPurpose": "x"}, {"phone": "+12025550102"})] == [
        200,
        200,
        200,
    ]
    tell(sink, "PUT", "/wunderkind/settings", {"once": False})
    assert [post(sink, text())[0] for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    ("word", "status"), [("throttled", 429), ("temporary", 503), ("unknown_failure", 500), ("duplicate", 409)]
)
def test_troubles_are_told_as_they_are(sink, word, status):
    assert post(sink, text(phone=number(word)))[0] == status
    assert sent(sink, "wunderkind") == []


def test_a_limit_can_be_set(sink):
    tell(sink, "PUT", "/wunderkind/settings", {"per_second": 1, "once": False})
    answers = [post(sink, text())[:2] for _ in range(4)]
    assert answers[0][0] == 200
    assert [headers["retry-after"] for status, headers in answers if status == 429]


def test_statuses_reach_klaviyo_as_three_events_of_one_metric(sink):
    tell(sink, "PUT", "/wunderkind/settings", {"klaviyo_url": f"{sink.url}/klaviyo"})
    message_id = post(sink, text())[2]["messageId"]
    # Each check gives the sink a turn, and it needs very few.
    events = next(found for _ in range(5_000) if len(found := sent(sink, "klaviyo")) == 3)
    names = [f"{message_id}:{status}" for status in ("PENDING_TO_SEND", "SENDING", "DELIVERED")]
    assert [event["mid"] for event in events] == names
    last = json.loads(events[-1]["body"])
    assert last == {
        "metric": "Birthday SMS",
        "properties": DATA | {"MessageID": message_id, "Status": "DELIVERED"},
    }


def test_statuses_can_go_to_a_url_of_ones_own_with_a_secret(sink, ear):
    tell(
        sink,
        "PUT",
        "/wunderkind/settings",
        {"callback_url": f"{ear.url}/receipts/1", "callback_secret": "s3", "retry_base": 0.001},
    )
    ear.statuses = [503]
    post(sink, text(callbackData='{"profileID": "p"}'))
    heard = ear.several(4)
    assert heard[0].body == heard[1].body
    assert {one.headers["x-callback-secret"] for one in heard} == {"s3"}
    told = json.loads(heard[-1].body)["data"]["attributes"]
    assert told["metric"]["data"]["attributes"]["name"] == "Message Status"
    assert told["profile"]["data"] == {"type": "profile", "id": "p", "attributes": {}}


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("invalid", ["NOT_FOUND"]),
        ("opted_out", ["NOT_SUBSCRIBED"]),
        ("opted_out_later", ["NOT_SUBSCRIBED"]),
        ("unknown", ["FAILED_TO_MATCH"]),
        ("blocked", ["PENDING_TO_SEND", "SENDING", "FAILED_TO_SEND"]),
        ("unreachable", ["PENDING_TO_SEND", "SENDING", "FAILED_TO_DELIVERY"]),
        ("sent", ["PENDING_TO_SEND", "SENDING", "SENDING"]),
        ("reordered", ["DELIVERED", "SENDING", "PENDING_TO_SEND", "SENDING"]),
        ("novel", ["PENDING_TO_SEND", "SENDING", "TELEPORTED"]),
        ("delivered_then_failed", ["PENDING_TO_SEND", "SENDING", "DELIVERED", "FAILED_TO_DELIVERY"]),
    ],
)
def test_what_becomes_of_a_message_is_told_by_its_number(sink, ear, word, told):
    tell(sink, "PUT", "/wunderkind/settings", {"callback_url": ear.url})
    assert post(sink, text(phone=number(word)))[0] == 200
    assert statuses(ear, len(told)) == told
    assert ear.is_quiet()


def test_every_status_of_the_list_can_happen():
    assert {status for several in STATUSES.values() for status in several} == {
        "NOT_FOUND",
        "NOT_SUBSCRIBED",
        "FAILED_TO_MATCH",
        "PENDING_TO_SEND",
        "SENDING",
        "FAILED_TO_SEND",
        "DELIVERED",
        "FAILED_TO_DELIVERY",
        "TELEPORTED",
    }
