"""Callbacks are accepted only with a valid signature or key, and are read as the connector describes."""

import base64
import hashlib
import hmac
import json
from collections import Counter
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from sendgrid.helpers.eventwebhook import EventWebhook
from twilio.request_validator import RequestValidator

from waypost.domain.messaging.keywords import effective_keyword
from waypost.domain.messaging.message import Receipt, Status
from waypost.domain.messaging.receipt import Quarantined
from waypost.domain.providers.aws.sns import SubscriptionConfirmation, confirmation, read_notification
from waypost.domain.providers.callback_verification import CallbackRequest, given_keys, is_genuine
from waypost.domain.providers.callbacks import read_body, read_callbacks
from waypost.domain.providers.connector import Callback, Connector, UnknownStatus, Verification
from waypost.domain.providers.definition import parse_connector
from waypost.domain.values.ids import public
from waypost.engine.providers.connectors import shipped
from waypost.errors import Invalid

NOW = 1_790_000_000_000_000
NOW_S = NOW // 1_000_000
MID = 0x00061C7F3A2B1C04
NAME = public("msg", MID)
BASE = "https://waypost.example.test"
PATH = "/receipts/con_0000000000000002"
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}


def request_of(
    body: bytes = b"", headers: dict[str, str] | None = None, query: str = "", base: str = BASE
) -> CallbackRequest:
    return CallbackRequest(headers=headers or {}, path=PATH, query=query, body=body, bases=(base,))


def read(name: str | Connector, body: Any, headers: dict[str, str] | None = None) -> list[Receipt | Quarantined]:
    connector = shipped()[name] if isinstance(name, str) else name
    if not isinstance(body, bytes):
        body = json.dumps(body).encode() if headers is not FORM else urlencode(body).encode()
    return read_callbacks(connector, read_body(connector, request_of(body, headers or JSON)), 1, 2, NOW)


def one(name: str | Connector, body: Any, headers: dict[str, str] | None = None) -> Receipt:
    (found,) = read(name, body, headers)
    assert isinstance(found, Receipt), found
    assert (found.workspace_id, found.connection_id) == (1, 2)
    return found


def verified_by(**verify: Any) -> Connector:
    return Connector(name="x", label="X", channel="sms", callback=Callback(verify=Verification(**verify)))


# Verification: SendGrid.

KEY = ec.derive_private_key(7, ec.SECP256R1())
PUBLIC = base64.b64encode(KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
EVENTS = b'[{"email":"ines@example.test","event":"processed","timestamp":1790000000,"sg_message_id":"sg.1"}]\r\n'


def sendgrid_headers(body: bytes, at_s: int = NOW_S, key: ec.EllipticCurvePrivateKey = KEY) -> dict[str, str]:
    signature = base64.b64encode(key.sign(f"{at_s}".encode() + body, ec.ECDSA(SHA256()))).decode()
    return {
        "x-twilio-email-event-webhook-signature": signature,
        "x-twilio-email-event-webhook-timestamp": f"{at_s}",
    }


def by_sendgrid(body: bytes, headers: dict[str, str], key: str = PUBLIC) -> bool:
    return is_genuine(shipped()["sendgrid"], {"webhook_public_key": key}, request_of(body, headers), NOW)


def test_a_callback_of_sendgrid_is_genuine_as_its_library_says():
    headers = sendgrid_headers(EVENTS)
    assert EventWebhook(PUBLIC).verify_signature(EVENTS.decode(), *headers.values())
    assert by_sendgrid(EVENTS, headers)
    assert by_sendgrid(EVENTS, headers, f"-----BEGIN PUBLIC KEY-----\n{PUBLIC}\n-----END PUBLIC KEY-----\n")


def test_the_line_end_of_sendgrid_is_signed():
    assert not by_sendgrid(EVENTS.strip(), sendgrid_headers(EVENTS))


@pytest.mark.parametrize("late_s", [-601, 601, 86_400, -86_400])
def test_what_sendgrid_signed_long_ago_is_refused(late_s: int):
    assert not by_sendgrid(EVENTS, sendgrid_headers(EVENTS, NOW_S + late_s))
    assert by_sendgrid(EVENTS, sendgrid_headers(EVENTS, NOW_S + (600 if late_s > 0 else -600)))


RSA = rsa.generate_private_key(65537, 2048).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, PUBLIC),
        (sendgrid_headers(EVENTS, key=ec.derive_private_key(8, ec.SECP256R1())), PUBLIC),
        (sendgrid_headers(EVENTS) | {"x-twilio-email-event-webhook-signature": "%%%"}, PUBLIC),
        (sendgrid_headers(EVENTS) | {"x-twilio-email-event-webhook-signature": ""}, PUBLIC),
        (sendgrid_headers(EVENTS) | {"x-twilio-email-event-webhook-timestamp": f"{NOW_S + 1}"}, PUBLIC),
        (sendgrid_headers(EVENTS) | {"x-twilio-email-event-webhook-timestamp": "now"}, PUBLIC),
        (sendgrid_headers(EVENTS) | {"x-twilio-email-event-webhook-timestamp": "٣" * 10}, PUBLIC),
        (sendgrid_headers(EVENTS), ""),
        (sendgrid_headers(EVENTS), "no key"),
        (sendgrid_headers(EVENTS), base64.b64encode(RSA).decode()),
    ],
)
def test_what_sendgrid_did_not_sign_is_refused(headers: dict[str, str], key: str):
    assert not by_sendgrid(EVENTS, headers, key)


# Verification: Twilio.

TOKEN = "12345678901234567890123456789012"
STATUS = {
    "AccountSid": "AC00000000000000000000000000000000",
    "ApiVersion": "2010-04-01",
    "From": "+18335550100",
    "To": "+12025550101",
    "MessageSid": "SM00000000000000000000000000000001",
    "SmsSid": "SM00000000000000000000000000000001",
    "MessageStatus": "delivered",
    "SmsStatus": "delivered",
    "Text with Ümlaut & more": "a=b&c",
    "Empty": "",
}


def by_twilio(body: bytes, headers: dict[str, str], query: str = "", base: str = BASE, token: str = TOKEN) -> bool:
    return is_genuine(shipped()["twilio"], {"auth_token": token}, request_of(body, headers, query, base), NOW)


def twilio_headers(url: str, fields: Any) -> dict[str, str]:
    return FORM | {"x-twilio-signature": RequestValidator(TOKEN).compute_signature(url, fields)}


@pytest.mark.parametrize("query", ["", "a=1&b=%20x"])
@pytest.mark.parametrize(
    ("base", "signed"),
    [
        (BASE, BASE),
        (BASE, f"{BASE}:443"),
        (f"{BASE}:8443", f"{BASE}:8443"),
        (f"{BASE}:8443", BASE),
        ("http://waypost.example.test", "http://waypost.example.test:80"),
        (f"{BASE}/waypost", f"{BASE}:443/waypost"),
    ],
)
def test_a_callback_of_twilio_is_genuine_with_and_without_port(base: str, signed: str, query: str):
    url = signed + PATH + (f"?{query}" if query else "")
    assert by_twilio(urlencode(STATUS).encode(), twilio_headers(url, STATUS), query, base)
    assert not by_twilio(urlencode(STATUS).encode(), twilio_headers(url, STATUS), query + "x", base)


class _Fields(list[tuple[str, str]]):
    """Fields with repeated names, as web frameworks pass them to the library."""

    def __iter__(self) -> Any:
        return iter([name for name, _ in list.__iter__(self)])

    def getall(self, name: str) -> list[str]:
        return [value for key, value in list.__iter__(self) if key == name]


def test_repeated_fields_are_signed_once_each():
    pairs = [("b", "2"), ("a", "y"), ("a", "x"), ("a", "y")]
    headers = twilio_headers(BASE + PATH, _Fields(pairs))
    assert by_twilio(urlencode(pairs).encode(), headers)
    assert not by_twilio(urlencode([*pairs, ("a", "z")]).encode(), headers)


def test_json_of_twilio_is_signed_by_its_digest():
    body = b'{"MessageStatus": "sent"}'
    query = f"bodySHA256={hashlib.sha256(body).hexdigest()}"
    headers = JSON | twilio_headers(f"{BASE}{PATH}?{query}", {})
    headers["content-type"] = "application/json"
    assert RequestValidator(TOKEN).validate(f"{BASE}{PATH}?{query}", body.decode(), headers["x-twilio-signature"])
    assert by_twilio(body, headers, query)
    assert not by_twilio(body + b" ", headers, query)
    assert not by_twilio(body, twilio_headers(BASE + PATH, {}) | JSON)


def test_what_twilio_did_not_sign_is_refused():
    body, headers = urlencode(STATUS).encode(), twilio_headers(BASE + PATH, STATUS)
    assert by_twilio(body, headers)
    assert not by_twilio(body.replace(b"delivered", b"failed"), headers)
    assert not by_twilio(body, headers, base="https://elsewhere.example.test")
    assert not by_twilio(body, headers, token="another")
    assert not by_twilio(body, FORM)
    assert not by_twilio(body, headers | {"x-twilio-signature": "ü"})
    assert not by_twilio(body, headers, token="")
    assert not by_twilio(b"&".join(b"a=1" for _ in range(2000)), headers)
    assert not by_twilio(body, headers, base="https://[half")


# Verification: the other schemes.


@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("over", ["{body}", "{timestamp}.{body}", "{body}{timestamp}", "v0:{timestamp}:{body}"])
def test_hmac(encoding: str, algorithm: str, over: str):
    connector = verified_by(
        scheme="hmac",
        key="{{ config.secret }}",
        header="X-Signature",
        algorithm=algorithm,
        encoding=encoding,
        prefix="sig=",
        timestamp_header="X-Time",
        over=over,
    )
    body = b'{"a": "{timestamp}"}\n'
    text = over.replace("{timestamp}", f"{NOW_S}").encode().replace(b"{body}", body)
    digest = hmac.digest(b"s3cret", text, algorithm)
    signature = "sig=" + (digest.hex() if encoding == "hex" else base64.b64encode(digest).decode())
    headers = {"x-signature": signature, "x-time": f"{NOW_S}"}
    config = {"secret": "s3cret"}

    def check(given: bytes = body, config: dict[str, str] = config, late_s: int = 0, **changes: str) -> bool:
        at = NOW + late_s * 1_000_000
        return is_genuine(
            connector, config, request_of(given, headers | {k.replace("_", "-"): v for k, v in changes.items()}), at
        )

    assert check()
    assert check(late_s=300)
    assert not check(late_s=301)
    assert not check(late_s=-301)
    assert not check(body + b" ")
    assert not check(config={"secret": "other"})
    assert not check(config={"secret": ""})
    assert not check(x_signature=signature.removeprefix("sig="))
    assert not check(x_signature="")
    assert not check(x_time="")
    if encoding == "hex":
        assert check(x_signature="sig=" + digest.hex().upper())
    if "{timestamp}" in over:
        assert not check(x_time=f"{NOW_S + 1}")


def basic(text: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("verify", "headers", "query", "genuine"),
    [
        ({"scheme": "header", "header": "X-Secret"}, {"x-secret": "s3cret"}, "", True),
        ({"scheme": "header", "header": "X-Secret"}, {"x-secret": "S3cret"}, "", False),
        ({"scheme": "header", "header": "X-Secret"}, {}, "", False),
        (
            {"scheme": "header", "header": "Authorization", "prefix": "Token "},
            {"authorization": "Token s3cret"},
            "",
            True,
        ),
        ({"scheme": "token"}, {}, "token=s3cret", True),
        ({"scheme": "token"}, {}, "a=b&key=s3cret", True),
        ({"scheme": "token"}, {}, "token=s3cre", False),
        ({"scheme": "token"}, {"x-token": "s3cret"}, "", False),
        ({"scheme": "token"}, {}, "&".join(f"a{n}=1" for n in range(300)), False),
        ({"scheme": "basic", "key": "me:{{ config.secret }}"}, basic("me:s3cret"), "", True),
        ({"scheme": "basic", "key": "me:{{ config.secret }}"}, basic("you:s3cret"), "", False),
        ({"scheme": "basic", "key": "me:{{ config.secret }}"}, {"authorization": "Basic %%%"}, "", False),
        ({"scheme": "basic", "key": "me:{{ config.secret }}"}, {"authorization": "Bearer s3cret"}, "", False),
        ({"scheme": "none"}, {}, "token=s3cret", False),
        ({"scheme": "firehose"}, {"x-amz-firehose-access-key": "s3cret"}, "", False),
    ],
)
def test_shared_secrets(verify: dict[str, Any], headers: dict[str, str], query: str, genuine: bool):
    connector = verified_by(**({"key": "{{ config.secret }}"} | verify))
    assert is_genuine(connector, {"secret": "s3cret"}, request_of(b"", headers, query), NOW) is genuine
    if "me" not in verify.get("key", ""):
        assert not is_genuine(connector, {"secret": ""}, request_of(b"", headers, query), NOW), "no secret, no entry"


def test_an_empty_user_and_password_is_no_proof():
    connector = verified_by(scheme="basic", key="{{ config.user }}:{{ config.password }}")
    assert not is_genuine(connector, {"user": "", "password": ""}, request_of(b"", basic(":")), NOW)
    assert not is_genuine(Connector(name="x", label="X", channel="sms"), {}, request_of(), NOW)


def test_where_a_key_may_stand():
    assert given_keys({"x-amz-firehose-access-key": "a", "x-api-key": "b"}, "key=c&token=d&x=e") == ["a", "b", "c", "d"]
    assert given_keys({"authorization": "Bearer t"}, "") == ["t"]
    assert given_keys(basic("user:pass"), "") == ["pass", "user"]
    assert given_keys({}, "key=&token=") == []
    assert given_keys({"x-api-key": "k" * 5000}, "") == []


@given(st.binary(max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_no_proof_raises(body: bytes, value: str, query: str):
    names = ("x-twilio-signature", "x-twilio-email-event-webhook-signature", "authorization", "x-s", "x-t")
    for headers in ({name: value for name in names} | FORM, {name: value for name in names}):
        call = request_of(body, headers, query)
        for name, config in (("twilio", {"auth_token": "t"}), ("sendgrid", {"webhook_public_key": PUBLIC})):
            assert not is_genuine(shipped()[name], config, call, NOW)
        signed = verified_by(scheme="hmac", key="k", header="X-S", timestamp_header="X-T")
        assert not is_genuine(signed, {}, call, NOW)
        given_keys(headers, query)


# Reading: SendGrid.


def event(kind: str, **more: Any) -> dict[str, Any]:
    return {
        "email": "ines@example.test",
        "timestamp": NOW_S,
        "event": kind,
        "sg_event_id": f"ev-{kind}",
        "sg_message_id": "sgmid-0001.recvd-5c8-1",
        "waypost_id": NAME,
        "category": ["c-7"],
    } | more


@pytest.mark.parametrize(
    ("said", "status", "code", "reason", "suppress"),
    [
        (event("processed"), None, None, None, None),
        (event("deferred", response="451 later", attempt="1"), None, None, None, None),
        (event("delivered", response="250 OK"), "delivered", None, None, None),
        (event("bounce", type="bounce", status="5.1.1", reason="550"), "failed", 2009, "bounced", "bounced"),
        (event("bounce", status="5.1.1", reason="550"), "failed", 2009, "bounced", "bounced"),
        (event("bounce", type="blocked", reason="554"), "failed", 2015, "blocked", None),
        (event("dropped", reason="Bounced Address"), "failed", 2009, "bounced", "bounced"),
        (event("dropped", reason="Unsubscribed Address"), "failed", 9988, "opted_out", "opted_out"),
        (event("dropped", reason="Spam Reporting Address"), "failed", 9988, "complained", "complained"),
        (event("dropped", reason="Invalid"), "failed", 2003, "invalid_address", "invalid_address"),
        (event("dropped", reason="Invalid SMTPAPI header"), "failed", 9988, "dropped", None),
        (event("teleported"), None, None, None, None),
    ],
)
def test_sendgrid_tells_the_fate_of_a_message(
    said: dict[str, Any], status: str | None, code: int | None, reason: str | None, suppress: str | None
):
    found = one("sendgrid", [said])
    assert (found.kind, found.status and found.status.value, found.code, found.reason, found.suppress) == (
        "status",
        status,
        code,
        reason,
        suppress,
    )
    assert (found.message_id, found.provider_message_id) == (MID, "sgmid-0001")
    assert (found.receipt_id, found.occurred_at) == (said["sg_event_id"], NOW)
    assert found.address == "ines@example.test"
    assert found.provider_code == said.get("status", said["event"])
    assert found.detail == said.get("reason", said.get("response"))


@pytest.mark.parametrize(
    ("said", "name", "suppress", "properties"),
    [
        (
            event("open", useragent="UA", ip="192.0.2.7", sg_machine_open=False),
            "email.opened",
            None,
            {"user_agent": "UA", "ip": "192.0.2.7", "machine": False},
        ),
        (event("open", sg_machine_open=True), "email.opened", None, {"machine": True}),
        (
            event("click", url="https://shop.example.test/", useragent="UA", ip="192.0.2.7"),
            "email.clicked",
            None,
            {"url": "https://shop.example.test/", "user_agent": "UA", "ip": "192.0.2.7"},
        ),
        (event("spamreport"), "email.complained", "complained", {}),
        (event("unsubscribe"), "email.unsubscribed", "opted_out", {}),
        (event("group_unsubscribe", asm_group_id=7), "email.unsubscribed", "opted_out", {"group_id": 7}),
    ],
)
def test_sendgrid_tells_what_people_do(said: dict[str, Any], name: str, suppress: str | None, properties: Any):
    found = one("sendgrid", [said])
    assert (found.kind, found.event, found.suppress, found.properties) == ("engagement", name, suppress, properties)
    assert (found.status, found.message_id, found.receipt_id) == (None, MID, said["sg_event_id"])


def test_our_id_may_also_be_called_mid():
    said = event("delivered")
    said["mid"] = said.pop("waypost_id")
    assert one("sendgrid", [said]).message_id == MID
    said["mid"] = "m-0001"
    assert one("sendgrid", [said]).message_id is None


def test_one_bad_event_spoils_only_itself():
    bad = {"event": "delivered"}
    found = read("sendgrid", [event("delivered"), 5, bad, None, {}, event("open"), {"event": "account_status_change"}])
    assert [type(one) for one in found] == [Receipt, Quarantined, Quarantined, Quarantined, Quarantined, Receipt]
    assert isinstance(found[2], Quarantined)
    assert json.loads(found[2].body) == bad


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(body: bytes):
    with pytest.raises(Invalid, match="not JSON"):
        read("sendgrid", body)


SAID = st.sampled_from(
    [event("delivered"), event("open"), event("bounce"), event("click", url="https://a.test/"), event("x"), 5]
)


@given(st.lists(SAID, max_size=10), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing_else(said: list[Any], dice: Any):
    def bag(events: list[Any]) -> Counter[bytes]:
        return Counter(msgspec.json.encode(found) for found in read("sendgrid", events))

    shuffled = said[:]
    dice.shuffle(shuffled)
    assert bag(shuffled) == bag(said)
    assert bag(said + shuffled) == bag(said) + bag(said)


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(event("x"))), inner, max_size=4),
    max_leaves=12,
)


@given(VALUE)
def test_no_json_raises(value: Any):
    for name in ("sendgrid", "twilio", "wunderkind", "http"):
        for found in read(name, value):
            msgspec.json.encode(found)


# Reading: Twilio.


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *((word, None) for word in ("queued", "accepted", "scheduled", "sending")),
        ("sent", "sent"),
        ("delivered", "delivered"),
        ("read", "delivered"),
        ("teleported", None),
    ],
)
def test_twilio_tells_the_fate_of_a_message(word: str, status: str | None):
    found = one("twilio", STATUS | {"MessageStatus": word, "SmsStatus": word}, FORM)
    assert (found.kind, found.status and found.status.value, found.provider_code) == ("status", status, word)
    assert (found.provider_message_id, found.address) == (STATUS["MessageSid"], "+12025550101")
    assert (found.occurred_at, found.code, found.suppress) == (NOW, None, None)


@pytest.mark.parametrize(
    ("error", "code", "reason", "suppress"),
    [
        ("21211", 2003, "invalid_number", "invalid_number"),
        ("21614", 2003, "invalid_number", "invalid_number"),
        ("30005", 2003, "invalid_number", "invalid_number"),
        ("30006", 2003, "landline", "invalid_number"),
        ("30003", 2009, "unreachable", None),
        ("30004", 2015, "blocked", None),
        ("30007", 2015, "carrier_blocked", None),
        ("30036", 2008, "expired", None),
        ("30001", 2020, "throttled", None),
        ("20429", 2020, "throttled", None),
        ("21610", 9988, "opted_out", "opted_out"),
        ("39999", 9988, "refused", None),
        ("", 9988, "refused", None),
    ],
)
def test_twilio_tells_why_a_message_failed(error: str, code: int, reason: str, suppress: str | None):
    found = one("twilio", STATUS | {"MessageStatus": "failed", "ErrorCode": error}, FORM)
    assert (found.status, found.code, found.reason, found.suppress) == (Status.FAILED, code, reason, suppress)
    assert found.provider_code == (error or "failed")


def test_an_undelivered_message_has_failed():
    found = one("twilio", STATUS | {"MessageStatus": "undelivered"}, FORM)
    assert (found.status, found.code, found.reason) == (Status.FAILED, 2009, "undelivered")


@pytest.mark.parametrize("said", [{"SmsStatus": "received"}, {"MessageStatus": "received"}, {}])
def test_a_message_that_comes_in_through_twilio(said: dict[str, str]):
    fields = {"MessageSid": "SM9", "From": "+12025550101", "To": "+18335550100", "Body": "Stop", "OptOutType": "STOP"}
    found = one("twilio", fields | said, FORM)
    assert (found.kind, found.text, found.address, found.own_address, found.receipt_id) == (
        "inbound",
        "Stop",
        "+12025550101",
        "+18335550100",
        "SM9",
    )
    assert (found.status, found.provider_message_id, found.properties) == (None, None, {"opt_out_type": "STOP"})
    assert one("twilio", fields | said | {"Body": ""}, FORM).text == ""


def test_a_form_that_says_nothing_is_kept():
    assert isinstance(read("twilio", b"a=b", FORM)[0], Quarantined)
    assert isinstance(read("twilio", b"SmsStatus=received", FORM)[0], Quarantined)
    with pytest.raises(Invalid, match="a form with at most"):
        read("twilio", b"&".join(b"a=1" for _ in range(2000)), FORM)


# Reading: other providers.


@pytest.mark.parametrize(
    ("word", "status", "code", "reason"),
    [
        ("PENDING_TO_SEND", None, None, None),
        ("SENDING", "sent", None, None),
        ("DELIVERED", "delivered", None, None),
        ("Delivered", "delivered", None, None),
        ("NOT_FOUND", "failed", 9988, "not_found"),
        ("NOT FOUND", "failed", 9988, "not_found"),
        ("NOT_SUBSCRIBED", "failed", 9988, "not_subscribed"),
        ("FAILED_TO_MATCH", "failed", 9988, "failed_to_match"),
        ("FAILED_TO_SEND", "failed", 9988, "failed_to_send"),
        ("FAILED_TO_DELIVERY", "failed", 2009, "undelivered"),
        ("FAILED TO DELIVERY", "failed", 2009, "undelivered"),
    ],
)
def test_wunderkind(word: str, status: str | None, code: int | None, reason: str | None):
    said = {"MessageID": "w-1", "messageID": NAME, "Status": word, "profileID": "p"}
    for body in (said, {"properties": said}, {"data": {"attributes": {"properties": said}}}):
        found = one("wunderkind", body)
        assert (found.status and found.status.value, found.code, found.reason) == (status, code, reason)
        assert (found.message_id, found.provider_message_id, found.suppress) == (MID, "w-1", None)
        assert found.provider_code == word


OWN = """
name = "own"
label = "Own"
channel = "sms"
base_url = "https://sms.example.test"
path = "/send"
answers = [{ status = "2xx", outcome = "accepted" }]

[callback]
verify = { scheme = "token", key = "k" }
records = "batch.reports"
unknown = { status = "failed", code = 9988 }

[callback.read]
id = "id"
id_end = "#"
status = "state"
code = "err"
at = "when"
at_unit = "iso"
price = "cost"
currency = "unit"
parts = "segments"
carrier = "network"
country = "land"

[[callback.statuses]]
match = ["ok*", 1]
status = "delivered"

[[callback.statuses]]
match = "pending"

[errors]
77 = { code = 2003, reason = "invalid_number", suppress = "invalid_number" }
"""


def test_a_connector_of_ones_own():
    own = parse_connector(OWN, "own.toml")
    report = {"id": 12, "state": "OK done", "when": "2026-09-21T14:13:20Z", "cost": "0.0075", "unit": "EUR"}
    report |= {"segments": "2", "network": 26201, "land": "DE"}
    found = one(own, {"batch": {"reports": [report]}})
    assert (found.status, found.provider_message_id, found.occurred_at) == (Status.DELIVERED, "12", NOW)
    assert (found.price_micros, found.currency, found.parts, found.carrier, found.country) == (
        7500,
        "EUR",
        2,
        "26201",
        "DE",
    )
    assert one(own, {"batch": {"reports": {"id": "a#b", "state": 1}}}).provider_message_id == "a"
    assert one(own, {"batch": {"reports": [{"id": "a", "state": "pending"}]}}).status is None
    found = one(own, {"batch": {"reports": [{"id": "a", "state": "lost", "err": 77}]}})
    assert (found.status, found.code, found.reason, found.provider_code) == (
        Status.FAILED,
        9988,
        "unrecognised:lost",
        "77",
    )
    assert isinstance(read(own, {"batch": {}})[0], Quarantined)
    assert read(own, {"batch": {"reports": []}}) == []
    many = {"batch": {"reports": [{"id": n, "state": 1} for n in range(3000)]}}
    assert len(read(own, many)) == 3000


def test_unknown_words_may_move_a_message_up_as_well():
    own = parse_connector(OWN, "own.toml")
    assert own.callback is not None
    callback = msgspec.structs.replace(own.callback, unknown=UnknownStatus(status=Status.SENT))
    found = one(
        msgspec.structs.replace(own, callback=callback), {"batch": {"reports": [{"id": "a", "state": "underway"}]}}
    )
    assert (found.status, found.code, found.reason) == (Status.SENT, None, None)


def test_a_connector_without_callbacks_reads_none():
    with pytest.raises(Invalid, match="reads no callbacks"):
        read("smtp", [])


# SNS.

TOPIC = {"TopicArn": "arn:aws:sns:us-east-1:111122223333:t", "MessageId": "n-1"}


def test_an_envelope_of_sns():
    found = read_notification(json.dumps(TOPIC | {"Type": "Notification", "Message": "{}"}).encode())
    assert found is not None
    assert (found.type, found.message) == ("Notification", "{}")
    for body in (
        b"",
        b"{}",
        b'{"Type": "Notification"}',
        b'{"TopicArn": 5, "Type": "x"}',
        b'"TopicArn"',
        b'\xff"TopicArn"',
    ):
        assert read_notification(body) is None


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=t", True),
        ("https://sns.us-gov-west-1.amazonaws.com:443/?Token=t", True),
        ("https://sns.cn-north-1.amazonaws.com.cn/?Token=t", True),
        ("http://sns.us-east-1.amazonaws.com/?Token=t", False),
        ("https://sns.us-east-1.amazonaws.com:8443/?Token=t", False),
        ("https://sns.us-east-1.amazonaws.com.evil.test/", False),
        ("https://sns.us-east-1.amazonaws.com@evil.test/", False),
        ("https://evil@sns.us-east-1.amazonaws.com/", False),
        ("https://evil.test/sns.us-east-1.amazonaws.com", False),
        ("https://evil.test\\@sns.us-east-1.amazonaws.com/", False),
        ("https://sqs.us-east-1.amazonaws.com/", False),
        ("https://bucket.s3.amazonaws.com/", False),
        ("https://sns.us-east-1.amazonaws.com\r\n/", False),
        ("https://sns.us-east-1.amazonaws.com:x/", False),
        ("https://[sns.us-east-1.amazonaws.com/", False),
        ("https://sns.us-east-1.amazonaws.com/" + "x" * 3000, False),
        ("", False),
    ],
)
def test_only_pages_of_sns_are_fetched(url: str, ours: bool):
    found = read_notification(json.dumps(TOPIC | {"Type": "SubscriptionConfirmation", "SubscribeURL": url}).encode())
    assert found is not None
    assert confirmation(found) == (SubscriptionConfirmation(url) if ours else None)


@pytest.mark.parametrize(
    ("text", "named", "expected"),
    [
        ("Laissez-moi tranquille", "STOP", "stop"),
        ("Me revoila", "START", "start"),
        ("STOP", "START", "stop"),
        ("START", "STOP", "stop"),
        ("hello", "", None),
        ("hello", "SOMETHING", None),
        ("Stop", "", "stop"),
    ],
)
def test_the_keyword_that_twilio_names_counts_whatever_the_text_is(text, named, expected):
    fields = {"MessageSid": "SM9", "From": "+12025550101", "To": "+18335550100", "Body": text, "OptOutType": named}
    (found,) = read("twilio", urlencode(fields).encode(), FORM)
    assert isinstance(found, Receipt)
    assert effective_keyword(found.text or "", found.keyword) == expected
