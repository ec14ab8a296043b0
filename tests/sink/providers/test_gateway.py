"""The generic gateway: keys, tokens, forms and JSON, idempotency, and signed callbacks."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.sink.hearing import ask, number, sent, tell
from waypost.sink.thread_runner import Running

TO = "+12025550101"
BASIC = "Basic " + base64.b64encode(b"me:secret").decode()


@pytest.fixture
def sink(shared):
    tell(shared, "PUT", "/gateway/settings", {})
    tell(shared, "DELETE", "/fate/gateway")
    tell(shared, "DELETE", "/sent")
    return shared


def post(sink: Running, given: Any = None, path: str = "/gateway/send", **headers: str) -> tuple[int, Any]:
    known = {"x-api-key": "k", "content-type": "application/json"}
    body = json.dumps({"to": TO, "text": "hi", "reference": "msg_1"} if given is None else given).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    status, _, answer = ask(sink, "POST", path, body, known | named)
    return status, json.loads(answer)


def token(sink: Running, headers: Mapping[str, str] | None = None, **form: str) -> tuple[int, Any]:
    status, _, answer = ask(sink, "POST", "/gateway/token", urlencode(form).encode(), headers)
    return status, json.loads(answer)


def test_json_forms_and_queries_say_the_same(sink):
    form = urlencode({"to": TO, "text": "grüß dich & me", "reference": "a"})
    assert post(sink)[0] == 200
    headers = {"x-api-key": "k", "content-type": "application/x-www-form-urlencoded"}
    assert ask(sink, "POST", "/gateway/send", form.encode(), headers)[0] == 200
    status, _, answer = ask(sink, "GET", f"/gateway/send?{form}", None, {"x-api-key": "k"})
    told = json.loads(answer)
    assert (status, told["status"], told["reference"]) == (200, "accepted", "a")
    taken = sent(sink, "gateway")
    assert [(one["body"], one["mid"]) for one in taken] == [
        ("hi", "msg_1"),
        ("grüß dich & me", "a"),
        ("grüß dich & me", "a"),
    ]
    assert taken[-1]["message_id"] == told["id"]


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer the-one", "x_api_key": ""},
        {"authorization": "Basic " + base64.b64encode(b"me:the-one").decode(), "x_api_key": ""},
        {"x_api_key": "the-one"},
    ],
)
def test_a_key_can_be_brought_in_three_ways(sink, headers):
    assert post(sink, **headers)[0] == 200
    assert "the-one" not in json.dumps(tell(sink, "PUT", "/gateway/settings", {"api_key": "the-one"}))
    assert post(sink, **headers)[0] == 200
    tell(sink, "PUT", "/gateway/settings", {"api_key": "another"})
    assert post(sink, **headers)[0] == 401


def test_no_key_and_a_wrong_key_are_refused(sink):
    assert post(sink, x_api_key="") == (
        401,
        {"error": {"code": "unauthorized", "message": "The key or the token is not valid."}},
    )
    assert post(sink, x_api_key="wrong")[0] == 401


def test_a_client_gets_a_token_and_sends_with_it(sink):
    tell(sink, "PUT", "/gateway/settings", {"client_id": "me", "client_secret": "secret", "api_key": "other"})
    status, told = token(sink, grant_type="client_credentials", client_id="me", client_secret="secret")
    assert (status, told["token_type"], told["expires_in"]) == (200, "Bearer", 3600)
    bearer = f"Bearer {told['access_token']}"
    assert post(sink, x_api_key="", authorization=bearer)[0] == 200
    assert post(sink, x_api_key="", authorization=bearer + "x")[0] == 401
    assert token(sink, {"authorization": BASIC}, grant_type="client_credentials")[0] == 200
    assert token(sink, grant_type="client_credentials", client_id="me", client_secret="x") == (
        401,
        {"error": "invalid_client"},
    )
    assert token(sink, grant_type="password") == (400, {"error": "unsupported_grant_type"})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"to": ""}, "missing_to"),
        ({"to": "nobody"}, "invalid_number"),
        ({"text": ""}, "missing_text"),
        ({"text": "x" * 1601}, "too_long"),
        ({"to": 7}, "invalid_field"),
        ({"to": number("malformed")}, "invalid_number"),
    ],
)
def test_what_is_wrong_is_said_with_a_code(sink, changes, code):
    status, told = post(sink, {"to": TO, "text": "hi"} | changes)
    assert (status, told["error"]["code"]) == (422, code)
    assert sent(sink, "gateway") == []


def test_a_body_that_cannot_be_read_is_refused(sink):
    for kind, body in (("application/json", b"{"), ("application/x-www-form-urlencoded", b"\xff\xfe")):
        assert ask(sink, "POST", "/gateway/send", body, {"x-api-key": "k", "content-type": kind})[0] == 400


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("rejected", 400),
        ("opted_out", 403),
        ("throttled", 429),
        ("temporary", 503),
        ("unknown_failure", 500),
        ("duplicate", 409),
        ("error", 500),
    ],
)
def test_numbers_have_fates(sink, word, status):
    found, told = post(sink, {"to": number(word), "text": "hi"})
    assert (found, bool(told["error"]["code"])) == (status, True)
    assert sent(sink, "gateway") == []


def test_an_idempotency_key_gets_the_same_answer_again(sink):
    first = post(sink, idempotency_key="a")
    assert first[0] == 200
    assert post(sink, idempotency_key="a") == first
    assert post(sink, idempotency_key="b")[1]["id"] != first[1]["id"]
    assert len(sent(sink, "gateway")) == 2


def test_a_lost_answer_can_be_had_by_its_key(sink):
    tell(sink, "PUT", "/fate/gateway", {"lost_answer_rate": 1})
    with pytest.raises(ConnectionError):
        post(sink, idempotency_key="lost")
    tell(sink, "DELETE", "/fate/gateway")
    (taken,) = sent(sink, "gateway")
    assert post(sink, idempotency_key="lost")[1]["id"] == taken["message_id"]
    assert len(sent(sink, "gateway")) == 1


def test_callbacks_are_signed_and_come_in_turn(sink, ear):
    tell(sink, "PUT", "/gateway/settings", {"callback_url": f"{ear.url}/cb?token=t", "secret": "s"})
    message_id = post(sink)[1]["id"]
    heard = ear.several(2)
    for one in heard:
        assert one.path == "/cb?token=t"
        assert one.headers["x-gateway-signature"] == hmac.new(b"s", one.body, hashlib.sha256).hexdigest()
        timed = one.headers["x-gateway-timestamp"].encode() + b"." + one.body
        assert one.headers["x-gateway-signature-v2"] == "v2=" + hmac.new(b"s", timed, hashlib.sha256).hexdigest()
    told = [json.loads(one.body) for one in heard]
    assert [one["status"] for one in told] == ["queued", "delivered"]
    assert {(one["id"], one["reference"], one["to"], one["parts"]) for one in told} == {(message_id, "msg_1", TO, 1)}


@pytest.mark.parametrize(
    ("word", "status", "code"),
    [
        ("unreachable", "undelivered", "unreachable"),
        ("carrier_blocked", "rejected", "carrier"),
        ("expired", "expired", None),
        ("max_price", "failed", "price"),
        ("novel", "teleported", None),
    ],
)
def test_what_becomes_of_a_message_is_told_by_its_number(sink, ear, word, status, code):
    given = {"to": number(word), "text": "hi", "callback_url": ear.url}
    assert post(sink, given)[0] == 200
    last = ear.several(2)[-1]
    told = json.loads(last.body)
    assert (told["status"], told.get("error_code")) == (status, code)
    assert "x-gateway-signature" not in last.headers
