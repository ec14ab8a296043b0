"""Twilio as its own unmodified client sees it, and its callbacks as the client's validator does."""

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from tests.sink.hearing import Ear, Heard, ask, number, sent, tell
from waypost.sink.providers.twilio import STATUSES, sign
from waypost.sink.providers.twilio_errors import MESSAGES, REFUSALS
from waypost.sink.thread_runner import Running

ACCOUNT, TOKEN = "AC" + "1" * 32, "made-up-token"
SERVICE = "MG" + "2" * 32
TO, FROM = "+12025550101", "+12025550100"
PATH = f"/twilio/2010-04-01/Accounts/{ACCOUNT}"


@pytest.fixture
def sink(shared):
    tell(shared, "PUT", "/twilio/settings", {})
    tell(shared, "DELETE", "/fate/twilio")
    tell(shared, "DELETE", "/sent")
    return shared


class Redirected(TwilioHttpClient):  # type: ignore[misc]
    """The vendor's HTTP client with another host."""

    def __init__(self, base: str) -> None:
        super().__init__(timeout=10)
        self._base = base

    def request(self, method: str, url: str, *args: Any, **more: Any) -> Any:
        assert url.startswith("https://api.twilio.com/")
        return super().request(method, self._base + urlsplit(url).path, *args, **more)


def client(sink: Running, user: str = ACCOUNT, token: str = TOKEN) -> Client:
    return Client(user, token, ACCOUNT, http_client=Redirected(f"{sink.url}/twilio"))


def post(sink: Running, pairs: Any, user: str = ACCOUNT, token: str = TOKEN) -> tuple[int, Mapping[str, str], Any]:
    headers = {
        "authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode(),
        "content-type": "application/x-www-form-urlencoded",
    }
    body = pairs if isinstance(pairs, bytes) else urlencode(pairs, doseq=True).encode()
    status, told, answer = ask(sink, "POST", f"{PATH}/Messages.json", body, headers)
    return status, told, json.loads(answer)


def form(**changes: Any) -> dict[str, Any]:
    given = {"To": TO, "From": FROM, "Body": "Hi Ines"} | changes
    return {name: value for name, value in given.items() if value is not None}


def fields(heard: Heard, ear: Ear) -> dict[str, str]:
    """Return the fields of a callback after the vendor's validator has verified its signature."""
    told = dict(parse_qsl(heard.body.decode(), keep_blank_values=True))
    validator, signature = RequestValidator(TOKEN), heard.headers["x-twilio-signature"]
    assert validator.validate(ear.url + heard.path, told, signature)
    assert not validator.validate(ear.url + heard.path, told | {"Extra": "1"}, signature)
    assert not validator.validate(f"{ear.url}{heard.path}x", told, signature)
    return told


# Messages.


def test_the_vendors_client_sends_a_message_and_looks_at_it(sink):
    made = client(sink).messages.create(to=TO, from_=FROM, body="Hi Ines", media_url=["https://img.example/1.jpg"])
    assert (made.status, made.error_code, made.num_segments, made.num_media) == ("queued", None, "1", "1")
    assert made.date_created is not None
    (taken,) = sent(sink, "twilio")
    assert (taken["message_id"], taken["address"], taken["body"]) == (made.sid, TO, "Hi Ines")
    found = client(sink).messages(made.sid).fetch()
    assert (found.sid, found.status, found.to, found.from_) == (made.sid, "delivered", TO, FROM)
    assert [one.sid for one in client(sink).messages.list(limit=1)] == [made.sid]


def test_a_messaging_service_accepts_first(sink):
    made = client(sink).messages.create(to=TO, messaging_service_sid=SERVICE, body="x" * 400)
    assert (made.status, made.messaging_service_sid, made.from_, made.num_segments) == ("accepted", SERVICE, None, "0")


def test_the_vendors_client_reads_the_account_and_hears_of_wrong_credentials(sink):
    assert client(sink).api.accounts(ACCOUNT).fetch().status == "active"
    for user, token in ((ACCOUNT, "wrong"), ("AC" + "9" * 32, TOKEN)):
        with pytest.raises(TwilioRestException) as caught:
            client(sink, user, token).api.accounts(ACCOUNT).fetch()
        assert (caught.value.status, caught.value.code) == (401, 20003)
    with pytest.raises(TwilioRestException) as caught:
        client(sink).messages("SM" + "0" * 32).fetch()
    assert (caught.value.status, caught.value.code) == (404, 20404)


def test_only_the_credentials_that_were_set_are_right_and_the_token_is_never_shown(sink):
    told = tell(
        sink, "PUT", "/twilio/settings", {"auth_token": "the-one", "account_sid": ACCOUNT, "status": "suspended"}
    )
    assert "the-one" not in json.dumps(told)
    assert post(sink, form())[0] == 401
    assert post(sink, form(), token="the-one")[0] == 201
    assert client(sink, token="the-one").api.accounts(ACCOUNT).fetch().status == "suspended"


def test_an_api_key_may_send_too(sink):
    assert client(sink, "SK" + "3" * 32, "secret").messages.create(to=TO, from_=FROM, body="hi").sid.startswith("SM")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"To": None}, 21604),
        ({"To": "12025550101"}, 21211),
        ({"To": number("malformed")}, 21211),
        ({"From": None}, 21603),
        ({"From": "!"}, 21212),
        ({"From": TO}, 21266),
        ({"From": None, "MessagingServiceSid": "MG1"}, 21703),
        ({"Body": None}, 21619),
        ({"Body": "x" * 1601}, 21617),
        ({"MediaUrl": ["https://img.example/1.jpg"] * 11}, 21623),
        ({"StatusCallback": "https://my_host.example/"}, 21609),
        ({"StatusCallback": "nowhere"}, 21609),
        ({"ValidityPeriod": "36001"}, 20001),
        ({"ValidityPeriod": "soon"}, 20001),
        ({"Colour": "green"}, 20001),
        ({"To": number("opted_out")}, 21610),
        ({"To": number("rejected")}, 21408),
    ],
)
def test_what_is_wrong_with_a_message_is_said_in_a_number(sink, changes, code):
    status, _, told = post(sink, form(**changes))
    assert status == 400
    assert told == {
        "code": code,
        "message": MESSAGES[code],
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": 400,
    }
    assert sent(sink, "twilio") == []


@pytest.mark.parametrize(
    ("word", "status", "code"),
    [("throttled", 429, 20429), ("temporary", 503, 20503), ("unknown_failure", 500, 20500), ("error", 500, 20500)],
)
def test_the_vendors_client_hears_of_troubles(sink, word, status, code):
    with pytest.raises(TwilioRestException) as caught:
        client(sink).messages.create(to=number(word), from_=FROM, body="hi")
    assert (caught.value.status, caught.value.code) == (status, code)
    assert sent(sink, "twilio") == []


def test_an_answer_can_be_lost_though_the_message_was_taken(sink):
    with pytest.raises(ConnectionError):
        post(sink, form(To=number("lost_answer")))
    assert len(sent(sink, "twilio")) == 1


# Status callbacks.


def test_each_step_is_told_in_turn_and_signed_over_the_exact_url(sink, ear):
    url = f"{ear.url}/receipts/con_1?a=%20b&a=c"
    made = client(sink).messages.create(to=TO, from_=FROM, body="hi", status_callback=url)
    told = [fields(heard, ear) for heard in ear.several(3)]
    assert [one["MessageStatus"] for one in told] == ["queued", "sent", "delivered"]
    for one in told:
        assert (
            one.items()
            >= {
                "AccountSid": ACCOUNT,
                "ApiVersion": "2010-04-01",
                "From": FROM,
                "To": TO,
                "MessageSid": made.sid,
                "SmsSid": made.sid,
                "SmsStatus": one["MessageStatus"],
            }.items()
        )
        assert "ErrorCode" not in one


@pytest.mark.parametrize(
    ("word", "steps", "code"),
    [
        ("unreachable", ["queued", "sent", "undelivered"], "30003"),
        ("blocked", ["queued", "sent", "undelivered"], "30004"),
        ("invalid", ["queued", "sent", "undelivered"], "30005"),
        ("carrier_unreachable", ["queued", "sent", "undelivered"], "30006"),
        ("carrier_blocked", ["queued", "sent", "undelivered"], "30007"),
        ("unknown", ["queued", "sent", "undelivered"], "30008"),
        ("max_price", ["queued", "failed"], "30010"),
        ("expired", ["queued", "failed"], "30036"),
        ("opted_out_later", ["queued", "failed"], "21610"),
        ("novel", ["queued", "teleported"], None),
        ("sent", ["queued", "sent"], None),
        ("queued", ["queued"], None),
        ("reordered", ["delivered", "sent", "queued"], None),
        ("failed_then_delivered", ["queued", "sent", "undelivered", "delivered"], None),
    ],
)
def test_what_becomes_of_a_message_is_told_by_its_number(sink, ear, word, steps, code):
    made = client(sink).messages.create(
        to=number(word), messaging_service_sid=SERVICE, body="hi", status_callback=f"{ear.url}/cb"
    )
    told = [fields(heard, ear) for heard in ear.several(len(steps))]
    assert [one["MessageStatus"] for one in told] == steps
    assert told[-1].get("ErrorCode") == code
    assert all(one["MessagingServiceSid"] == SERVICE for one in told)
    assert client(sink).messages(made.sid).fetch().status == steps[-1]
    assert ear.is_quiet()


def test_a_callback_is_tried_again_before_the_next_is_told(sink, ear):
    ear.statuses = [500, 500, 500]
    tell(sink, "PUT", "/twilio/settings", {"retry_base": 0.001, "attempts": 3})
    post(sink, form(StatusCallback=f"{ear.url}/cb"))
    assert [fields(heard, ear)["MessageStatus"] for heard in ear.several(5)] == ["queued"] * 3 + [
        "sent",
        "delivered",
    ]


def test_without_a_callback_nothing_is_told(sink, ear):
    post(sink, form())
    post(sink, form(To=number("silent"), StatusCallback=f"{ear.url}/cb"))
    post(sink, form(StatusCallback=f"{ear.url}/cb"))
    assert {fields(heard, ear)["To"] for heard in ear.several(3)} == {TO}


# Inbound messages.


def write(sink: Running, text: str, person: str = TO) -> Any:
    return tell(sink, "POST", "/twilio/inbound", {"from": person, "to": FROM, "body": text})


def test_a_person_writes_and_the_webhook_is_signed(sink, ear):
    tell(sink, "PUT", "/twilio/settings", {"auth_token": TOKEN, "account_sid": ACCOUNT, "inbound_url": f"{ear.url}/in"})
    sid = write(sink, "Hello & 你好")["MessageSid"]
    told = fields(ear.wait(), ear)
    assert told.items() >= {"MessageSid": sid, "From": TO, "To": FROM, "Body": "Hello & 你好", "NumMedia": "0"}.items()
    assert (told["SmsStatus"], told["AccountSid"]) == ("received", ACCOUNT)
    assert "OptOutType" not in told


def test_stop_means_that_nothing_is_sent_any_more_until_start(sink, ear):
    tell(
        sink,
        "PUT",
        "/twilio/settings",
        {"auth_token": TOKEN, "inbound_url": f"{ear.url}/in", "advanced_opt_out": True},
    )
    person = "+12025550199"
    write(sink, "stop it", person)
    assert "OptOutType" not in fields(ear.wait(), ear)
    assert post(sink, form(To=person))[0] == 201
    write(sink, " Stop ", person)
    assert fields(ear.wait(), ear)["OptOutType"] == "STOP"
    assert post(sink, form(To=person))[2]["code"] == 21610
    assert post(sink, form(To=person, From="+12025550111"))[0] == 201
    write(sink, "UNSTOP", person)
    assert fields(ear.wait(), ear)["OptOutType"] == "START"
    assert post(sink, form(To=person))[0] == 201


def test_some_people_answer_stop(sink, ear):
    tell(sink, "PUT", "/twilio/settings", {"auth_token": TOKEN, "inbound_url": f"{ear.url}/in"})
    post(sink, form(To=number("stopped")))
    told = fields(ear.wait(), ear)
    assert (told["Body"], told["From"], told["To"]) == ("STOP", number("stopped"), FROM)


def test_without_a_url_nobody_can_write(sink):
    body = json.dumps({"from": TO, "to": FROM, "body": "x"}).encode()
    status, _, told = ask(sink, "POST", "/twilio/inbound", body)
    assert (status, json.loads(told)["code"]) == (409, "no_inbound_url")
    assert ask(sink, "POST", "/twilio/inbound", b'{"from": 1}')[0] == 400


# Laws.


@given(
    st.text(max_size=20),
    st.from_regex(
        r"https?://[a-z]{1,9}\.example(:[1-9][0-9]{1,3})?/[a-z/]{0,9}(\?[a-z]=[a-z0-9%+]{0,5})?", fullmatch=True
    ),
    st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=5),
)
def test_the_vendors_validator_takes_every_signature(token, url, told):
    assert RequestValidator(token).validate(url, told, sign(token, url, told))
    assert not RequestValidator(token + "x").validate(url, told, sign(token, url, told))


def test_every_refusal_has_its_words():
    assert {code for _, code in REFUSALS.values()} <= MESSAGES.keys()
    assert {status for status, _ in STATUSES.values()} > {"queued", "sent", "delivered", "undelivered", "failed"}
