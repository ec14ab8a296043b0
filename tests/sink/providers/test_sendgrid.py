"""SendGrid as its own unmodified client sees it, and its Event Webhook as the client's verifier does."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient
from sendgrid.helpers.eventwebhook import EventWebhook
from sendgrid.helpers.mail import Mail

from tests.sink.hearing import Ear, Heard, ask, sent, tell
from waypost.sink.providers.sendgrid import EVENTS, MAILBOXES
from waypost.sink.providers.sendgrid_mail import RESERVED
from waypost.sink.thread_runner import Running

KEY = "SG.made-up.key"
VALID: dict[str, Any] = {
    "personalizations": [{"to": [{"email": "ines@example.test"}], "custom_args": {"waypost_id": "msg_1"}}],
    "from": {"email": "hello@brand.example.test", "name": "Brand"},
    "subject": "Your mug",
    "content": [{"type": "text/plain", "value": "Hi Ines"}, {"type": "text/html", "value": "<p>Hi Ines</p>"}],
    "custom_args": {"tenant": "t-1"},
    "categories": ["cmp-7"],
}


@pytest.fixture
def sink(shared):
    tell(shared, "PUT", "/sendgrid/settings", {})
    tell(shared, "DELETE", "/fate/sendgrid")
    tell(shared, "DELETE", "/sent")
    return shared


def listen(sink: Running, ear: Ear, **more: Any) -> dict[str, Any]:
    """Send events to the receiver without waiting for a batch."""
    told: dict[str, Any] = tell(
        sink, "PUT", "/sendgrid/settings", {"event_url": f"{ear.url}/events", "batch_wait": 0, **more}
    )
    return told


def post(
    sink: Running, mail: Any, authorization: str = f"Bearer {KEY}", kind: str = "application/json"
) -> tuple[int, Mapping[str, str], Any]:
    body = mail if isinstance(mail, bytes) else json.dumps(mail).encode()
    headers = {"authorization": authorization, "content-type": kind}
    status, told, answer = ask(sink, "POST", "/sendgrid/v3/mail/send", body, headers)
    return status, told, json.loads(answer) if answer else None


def to(*addresses: str, **more: Any) -> dict[str, Any]:
    return VALID | {"personalizations": [{"to": [{"email": address}]} for address in addresses]} | more


def events_of(heard: Heard) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(heard.body)
    return found


# Mail send.


def test_the_vendors_client_sends_a_mail(sink):
    client = SendGridAPIClient(KEY, host=f"{sink.url}/sendgrid")
    mail = Mail("hello@brand.example.test", "ines@example.test", "Your mug", "Hi Ines", "<p>Hi Ines</p>")
    answer = client.send(mail)
    assert (answer.status_code, answer.body) == (202, b"")
    (taken,) = sent(sink, "sendgrid")
    assert taken["message_id"] == answer.headers["X-Message-Id"]
    assert len(taken["message_id"]) == 22
    assert (taken["address"], taken["body"], taken["fate"]) == ("ines@example.test", "Hi Ines", "delivered")


def test_the_vendors_client_reads_scopes_and_hears_of_a_wrong_key(sink):
    answer = SendGridAPIClient(KEY, host=f"{sink.url}/sendgrid").client.scopes.get()
    assert "mail.send" in json.loads(answer.body)["scopes"]
    with pytest.raises(HTTPError) as caught:
        SendGridAPIClient("SG.wrong", host=f"{sink.url}/sendgrid").client.scopes.get()
    assert caught.value.status_code == 401
    assert caught.value.to_dict["errors"][0]["message"]


def test_nothing_of_it_is_served_at_the_root(sink):
    assert ask(sink, "POST", "/v3/mail/send", b"{}")[0] == 404


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer SG.", "Bearer SG.wrong", "Bearer pk_1", "Basic SG.x"]
)
def test_a_key_that_is_not_one_is_refused(sink, given):
    assert post(sink, VALID, given)[0] == 401


def test_only_the_key_that_was_set_is_right_and_it_is_never_shown(sink):
    told = tell(sink, "PUT", "/sendgrid/settings", {"api_key": "SG.the-one"})
    assert "SG.the-one" not in json.dumps(told)
    assert (post(sink, VALID)[0], post(sink, VALID, "Bearer SG.the-one")[0]) == (401, 202)


def test_a_key_without_the_scope_may_not_send(sink):
    tell(sink, "PUT", "/sendgrid/settings", {"scopes": ["stats.read"]})
    assert post(sink, VALID)[0] == 403


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in VALID.items() if key != name}


@pytest.mark.parametrize(
    ("mail", "field"),
    [
        (without("personalizations"), "personalizations"),
        (VALID | {"personalizations": []}, "personalizations"),
        (VALID | {"personalizations": [{"to": []}]}, "personalizations.0.to"),
        (VALID | {"personalizations": [{"to": [{"email": "ines"}]}]}, "personalizations.0.to.0.email"),
        (VALID | {"personalizations": [{"to": [{"name": "Ines"}]}]}, "personalizations.0.to.0"),
        (VALID | {"personalizations": [{"to": [{"email": "a@b.example"}] * 2}]}, "personalizations.0.to"),
        (VALID | {"personalizations": [{"to": [{"email": "a@b.example"}], "custom_args": {"n": 1}}]}, None),
        (to("a@b.example") | {"personalizations": [{"to": [{"email": "a@b.example"}]}] * 1001}, "personalizations"),
        (without("from"), "from.email"),
        (VALID | {"from": {"email": "brand"}}, "from.email"),
        (without("subject"), "subject"),
        (without("content"), "content"),
        (VALID | {"content": [{"type": "text/plain", "value": ""}]}, "content.0.value"),
        (VALID | {"content": VALID["content"][::-1]}, "content"),
        (VALID | {"content": VALID["content"][:1] * 2}, "content"),
        (VALID | {"headers": {"Received": "x"}}, "headers"),
        (VALID | {"categories": ["c"] * 11}, "categories"),
        (VALID | {"send_at": 99_999_999_999}, "send_at"),
        (VALID | {"reply_to": {"email": "a@b.example"}, "reply_to_list": [{"email": "a@b.example"}]}, "reply_to"),
        (VALID | {"asm": {}}, "asm"),
        (VALID | {"sendAt": 1}, None),
        (b"not json", None),
        (b'{"mail_settings":' + b'{"a":' * 200_000, None),
    ],
)
def test_what_is_wrong_with_a_mail_is_said_with_its_field(sink, mail, field):
    status, _, told = post(sink, mail)
    (error,) = told["errors"]
    assert status == 400
    assert error["message"]
    assert error["help"] is None
    assert field is None or error["field"] == field
    assert sent(sink, "sendgrid") == []


def test_a_template_or_subjects_for_everyone_are_enough(sink):
    assert post(sink, to("a@b.example", template_id="d-1", subject=None, content=[]))[0] == 202
    copy = {"to": [{"email": "a@b.example"}], "subject": "for you"}
    assert post(sink, without("subject") | {"personalizations": [copy]})[0] == 202


def test_another_content_type_a_sender_that_is_not_verified_and_the_sandbox(sink):
    assert post(sink, VALID, kind="text/plain")[0] == 415
    assert post(sink, VALID | {"from": {"email": "unverified@brand.example"}})[0] == 403
    assert post(sink, VALID | {"mail_settings": {"sandbox_mode": {"enable": True}}})[0] == 200
    assert sent(sink, "sendgrid") == []


def test_a_mail_that_is_too_large_is_refused(sink):
    status, _, told = post(sink, b" " * (31 * 1024 * 1024))
    assert (status, bool(told["errors"])) == (413, True)


def test_every_recipient_of_every_copy_is_taken_once(sink):
    mail = VALID | {
        "personalizations": [
            {"to": [{"email": "a@x.example"}], "cc": [{"email": "b@x.example"}], "bcc": [{"email": "c@x.example"}]},
            {"to": [{"email": "d@x.example"}], "custom_args": {"waypost_id": "msg_2"}},
        ]
    }
    assert post(sink, mail)[0] == 202
    assert [(m["address"][0], m["mid"]) for m in sent(sink, "sendgrid")] == [
        ("a", "t-1"),
        ("b", "t-1"),
        ("c", "t-1"),
        ("d", "msg_2"),
    ]


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("fate-malformed@x.example", 400),
        ("invalid@x.example", 400),
        ("fate-rejected@x.example", 400),
        ("throttle+1@x.example", 429),
        ("fate-temporary@x.example", 503),
        ("fate-unknown-failure@x.example", 500),
        ("fate-error@x.example", 500),
    ],
)
def test_addresses_that_have_a_fate_of_their_own_are_refused(sink, address, status):
    found, headers, told = post(sink, to("fine@x.example", address))
    assert (found, bool(told["errors"])) == (status, True)
    assert ("x-ratelimit-reset" in headers) is (status == 429)
    if address.startswith(("invalid", "fate-malformed")):
        assert told["errors"][0]["field"] == "personalizations.1.to.0.email"
    assert sent(sink, "sendgrid") == []


def test_an_answer_can_be_lost_though_the_mail_was_taken(sink):
    with pytest.raises(ConnectionError):
        post(sink, to("fate-lost-answer@x.example"))
    assert len(sent(sink, "sendgrid")) == 1


def test_a_run_can_set_rates(sink):
    tell(sink, "PUT", "/fate/sendgrid", {"throttle_rate": 0.5, "seed": "a"})
    first = [post(sink, VALID)[0] for _ in range(20)]
    tell(sink, "PUT", "/fate/sendgrid", {"throttle_rate": 0.5, "seed": "a"})
    assert [post(sink, VALID)[0] for _ in range(20)] == first
    assert set(first) == {202, 429}
    tell(sink, "PUT", "/fate/sendgrid", {"error_rate": 1, "error_status": 502})
    assert post(sink, VALID)[0] == 502


# The Event Webhook.


def test_events_are_signed_and_the_vendors_verifier_says_so(sink, ear):
    public = listen(sink, ear)["public_key"]
    message_id = post(sink, VALID)[1]["x-message-id"]
    heard = ear.wait()
    signature = heard.headers["x-twilio-email-event-webhook-signature"]
    at = heard.headers["x-twilio-email-event-webhook-timestamp"]
    verifier = EventWebhook(public)
    assert heard.body.endswith(b"\r\n")
    assert verifier.verify_signature(heard.body.decode(), signature, at)
    assert not verifier.verify_signature(heard.body.decode().strip(), signature, at)
    assert not verifier.verify_signature(heard.body.decode(), signature, str(int(at) + 1))
    processed, delivered = events_of(heard)
    assert (processed["event"], delivered["event"]) == ("processed", "delivered")
    for event in (processed, delivered):
        assert event["email"] == "ines@example.test"
        assert event["sg_message_id"].startswith(f"{message_id}.")
        assert (event["waypost_id"], event["tenant"], event["category"]) == ("msg_1", "t-1", "cmp-7")
        assert isinstance(event["timestamp"], int)
        assert event["smtp-id"].startswith("<")
    assert delivered["response"].startswith("250")
    assert delivered["tls"] == 1
    assert processed["sg_event_id"] != delivered["sg_event_id"]


@pytest.mark.parametrize(
    ("local", "names", "fields"),
    [
        ("bounce", ["processed", "bounce"], {"type": "bounce", "status": "5.1.1"}),
        ("blocked+7", ["processed", "bounce"], {"type": "blocked"}),
        ("drop", ["dropped"], {"reason": "Bounced Address"}),
        ("defer", ["processed", "deferred", "delivered"], {"response": "250 2.0.0 Kept"}),
        ("open", ["processed", "delivered", "open"], {"sg_machine_open": False}),
        ("machine", ["processed", "delivered", "open"], {"sg_machine_open": True}),
        ("click", ["processed", "delivered", "open", "click"], {"url_offset": {"index": 0, "type": "html"}}),
        ("spam", ["processed", "delivered", "spamreport"], {}),
        ("unsubscribe", ["processed", "delivered", "unsubscribe"], {}),
        ("fate-opted-out", ["dropped"], {"reason": "Unsubscribed Address"}),
        ("fate-expired", ["processed", "bounce"], {"type": "blocked", "status": "4.4.7"}),
        ("fate-novel", ["processed", "teleported"], {}),
        ("fate-reordered", ["delivered", "processed"], {}),
    ],
)
def test_what_becomes_of_a_mail_is_told_by_its_address(sink, ear, local, names, fields):
    listen(sink, ear)
    assert post(sink, to(f"{local}@x.example"))[0] == 202
    events = events_of(ear.wait())
    assert [event["event"] for event in events] == names
    assert events[-1].items() >= fields.items()


def test_a_repeated_event_has_the_same_id(sink, ear):
    listen(sink, ear)
    post(sink, to("fate-repeated@x.example"))
    events = events_of(ear.wait())
    assert [event["event"] for event in events] == ["processed", "delivered"] * 2
    assert events[:2] == events[2:]


def test_events_come_in_batches_and_only_those_that_are_wanted(sink, ear):
    listen(sink, ear, batch_size=2, events=["delivered"])
    post(sink, to(*(f"p{n}@x.example" for n in range(5)), categories=["a", "b"]))
    batches = [events_of(heard) for heard in ear.several(3)]
    assert sorted(len(batch) for batch in batches) == [1, 2, 2]
    events = [event for batch in batches for event in batch]
    assert {event["email"][:2] for event in events} == {f"p{n}" for n in range(5)}
    assert len({event["sg_event_id"] for event in events}) == 5
    assert all(event["category"] == ["a", "b"] and event["event"] == "delivered" for event in events)


def test_a_batch_is_sent_again_until_it_is_taken(sink, ear):
    ear.statuses = [500, 503]
    listen(sink, ear, retry_base=0.001)
    post(sink, VALID)
    first, second, third = ear.several(3)
    assert first.body == second.body == third.body


def test_events_can_be_left_unsigned(sink, ear):
    listen(sink, ear, signed=False)
    post(sink, VALID)
    assert "x-twilio-email-event-webhook-signature" not in ear.wait().headers


def test_settings_that_make_no_sense_are_refused(sink):
    for wrong in ({"event_url": "ftp://x"}, {"event_url": "http://a b/"}, {"colour": "green"}, {"batch_size": 0}):
        status, _, told = ask(sink, "PUT", "/sendgrid/settings", json.dumps(wrong).encode())
        assert (status, json.loads(told)["code"]) == (400, "invalid_settings")


def test_every_word_for_a_mailbox_has_its_event_or_its_refusal():
    assert {"bounced", "blocked", "dropped", "deferred", "complained"} <= set(MAILBOXES.values())
    assert {name for name, _ in EVENTS.values()} >= {"processed", "open", "click", "spamreport", "unsubscribe"}
    assert all(name == name.lower() for name in RESERVED)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(VALID)), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=100) | JSON)
def test_no_body_breaks_it(shared, body):
    assert post(shared, body)[0] == 400
