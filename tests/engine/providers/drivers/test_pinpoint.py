"""The Pinpoint driver: the request of a call, and the verdicts of its messages for each kind of response."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.conftest import LOOPBACK
from waypost.clock import now_us
from waypost.domain.messaging.message import Content, Outgoing, SendOutcome, Verdict
from waypost.domain.providers.connection import Connection
from waypost.domain.providers.connector import Connector
from waypost.domain.values.egress_guard import parse_networks
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import READ_BODY, Request, Response
from waypost.engine.providers.drivers import pinpoint
from waypost.sink.thread_runner import Running, running

NOW = 1_790_000_000_000_000
CONFIG = {
    "region": "us-east-1",
    "project_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "access_key": "AKIDEXAMPLE",
    "secret_key": "secret-example",
    "endpoint_url": None,
}


def connection(**config: Any) -> Connection:
    """Return a connection to Pinpoint."""
    connector = Connector(
        name="aws-pinpoint", label="Pinpoint", channel="sms", driver="pinpoint", batch_size=100, timeout_ms=7000
    )
    return Connection(
        id=1,
        workspace_id=1,
        name="Pinpoint Promo",
        connector=connector,
        config=CONFIG | config,
        status="enabled",
        position=0,
        per_second=None,
        concurrency=4,
        validity_s=3600,
        data_center="",
        version=1,
    )


def message(number: int, text: str = "Hi", *, media: list[str] | None = None, **changes: Any) -> Outgoing:
    """Return one of several messages, each to its own number."""
    values: dict[str, Any] = {
        "id": number,
        "workspace_id": 1,
        "connection_id": 1,
        "channel": "sms",
        "address": f"+1202555{number:04d}",
        "content": Content(text=text, media_urls=media or []),
        "purpose": "promotional",
        "created_at": NOW,
        "expires_at": NOW + 1,
    }
    return Outgoing(**values | changes)


def prepare(messages: list[Outgoing], **config: Any) -> tuple[Request, dict[str, Any]]:
    """Return the request for messages, and its body."""
    request = pinpoint.prepare(connection(**config), messages, lambda _: "https://waypost.example/x", NOW)
    return request, json.loads(request.body)


def answer(status: int | None, body: Any = b"", error: str | None = None, **changes: Any) -> Response:
    """Return a response."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = [("x-amzn-errortype", error)] if error else []
    return Response(status, headers + changes.pop("headers", []), data, changes.pop("trouble", None), 1, **changes)


def read(messages: list[Outgoing], response: Response) -> list[Verdict]:
    """Return the verdicts."""
    return pinpoint.read(connection(), messages, response, NOW)


def result(**entries: dict[str, Any]) -> dict[str, Any]:
    """Return a MessageResponse, by the last digits of each number."""
    return {
        "ApplicationId": CONFIG["project_id"],
        "RequestId": "6a0f9d1e-1111-4222-8333-444455556666",
        "Result": {f"+1202555{int(key[1:]):04d}": {"StatusCode": 200, **entry} for key, entry in entries.items()},
    }


def test_a_call_as_pinpoint_takes_it():
    request, body = prepare([message(101, "Grüße “a”\n"), message(102, "Hi {{x}}")])
    assert request.url == "https://pinpoint.us-east-1.amazonaws.com/v1/apps/0f1e2d3c4b5a69788796a5b4c3d2e1f0/messages"
    assert (request.method, request.timeout_ms, request.once, request.keep) == ("POST", 7000, True, READ_BODY)
    assert body == {
        "Addresses": {
            "+12025550101": {
                "BodyOverride": "Grüße “a”\n",
                "Context": {"mid": "msg_0000000000000065"},
                "ChannelType": "SMS",
            },
            "+12025550102": {
                "BodyOverride": "Hi {{x}}",
                "Context": {"mid": "msg_0000000000000066"},
                "ChannelType": "SMS",
            },
        },
        "MessageConfiguration": {"SMSMessage": {"MessageType": "PROMOTIONAL"}},
    }
    head = "\n".join(request.headers)
    assert "Credential=AKIDEXAMPLE/20260921/us-east-1/mobiletargeting/aws4_request" in head
    assert "secret-example" not in head
    assert "Content-Type: application/json" in head


def test_the_fields_of_the_connection_go_along():
    _, body = prepare(
        [message(1, "same"), message(2, "same")],
        sender_id="ACME",
        origination_number="+18335550100",
        entity_id="E1",
        template_id="T1",
        endpoint_url="http://127.0.0.1:8090",
    )
    assert body["MessageConfiguration"]["SMSMessage"] == {
        "MessageType": "PROMOTIONAL",
        "Body": "same",
        "SenderId": "ACME",
        "OriginationNumber": "+18335550100",
        "EntityId": "E1",
        "TemplateId": "T1",
    }


@pytest.mark.parametrize(
    ("purpose", "default", "sent"),
    [
        ("transactional", "PROMOTIONAL", "TRANSACTIONAL"),
        ("promotional", "TRANSACTIONAL", "PROMOTIONAL"),
        ("", "transactional", "TRANSACTIONAL"),
        ("", None, "PROMOTIONAL"),
    ],
)
def test_the_purpose_decides_the_type(purpose, default, sent):
    _, body = prepare([message(1, purpose=purpose)], message_type=default)
    assert body["MessageConfiguration"]["SMSMessage"]["MessageType"] == sent


def test_what_does_not_fit_into_one_call_is_tried_again():
    messages = [
        message(1, "first"),
        message(2, "to the same number", address=message(1).address),
        message(3, "urgent", purpose="transactional"),
        message(4, "picture", media=["https://cdn.example/a.png"]),
        message(5, "alike"),
    ]
    _, body = prepare(messages)
    assert [entry["BodyOverride"] for entry in body["Addresses"].values()] == ["first", "alike"]
    done = {"DeliveryStatus": "SUCCESSFUL", "MessageId": "m"}
    verdicts = read(messages, answer(200, result(_1=done, _5=done)))
    assert [verdict.outcome for verdict in verdicts] == ["accepted", "retry", "retry", "retry", "accepted"]
    assert {verdict.reason for verdict in verdicts[1:4]} == {"not_alike"}
    for response in (answer(400, b"", "BadRequestException"), answer(200, b"?"), answer(None, trouble="timeout: x")):
        assert [v.reason == "not_alike" for v in read(messages, response)] == [False, True, True, True, False]


def test_more_than_a_hundred_never_go_into_one_call():
    messages = [message(number) for number in range(150)]
    _, body = prepare(messages)
    assert len(body["Addresses"]) == 100
    assert sum(pinpoint.together(messages)) == 100


STATUSES = [
    ("SUCCESSFUL", "MessageId: a1", SendOutcome.ACCEPTED, None, None, None),
    ("DUPLICATE", "duplicate address in request", SendOutcome.REJECTED, 2021, "duplicate", None),
    ("OPT_OUT", "recipient has opted out", SendOutcome.REJECTED, 9988, "opted_out", "opted_out"),
    ("PERMANENT_FAILURE", "no reason", SendOutcome.REJECTED, 9988, "permanent", None),
    ("PERMANENT_FAILURE", "Invalid Phone Number", SendOutcome.REJECTED, 2003, "invalid_number", None),
    ("PERMANENT_FAILURE", "not in E.164 format", SendOutcome.REJECTED, 2003, "invalid_number", None),
    ("PERMANENT_FAILURE", "The origination number is not yours", SendOutcome.REJECTED, 9988, "permanent", None),
    ("PERMANENT_FAILURE", None, SendOutcome.REJECTED, 9988, "permanent", None),
    ("TEMPORARY_FAILURE", "try later", SendOutcome.RETRY, 2009, "temporary", None),
    ("THROTTLED", "rate exceeded", SendOutcome.RETRY, 2020, "throttled", None),
    ("UNKNOWN_FAILURE", "unknown", SendOutcome.REJECTED, 9988, "unknown", None),
    ("QUEUED_FOR_LATER", "new in 2031", SendOutcome.UNKNOWN, 9988, "unrecognised", None),
]


@pytest.mark.parametrize(("status", "words", "outcome", "code", "reason", "suppress"), STATUSES)
def test_what_becomes_of_an_address(status, words, outcome, code, reason, suppress):
    entry = {"DeliveryStatus": status, "StatusMessage": words, "MessageId": "m1", "UpdatedToken": None, "More": [1]}
    (verdict,) = read([message(1)], answer(200, result(_1=entry)))
    accepted = outcome is SendOutcome.ACCEPTED
    assert verdict == Verdict(
        outcome=outcome,
        code=code,
        reason=reason,
        provider_code=None if accepted else status,
        detail=None if accepted else words,
        provider_message_id="m1",
        suppress=suppress,
    )


def test_every_entry_of_an_answer_is_read():
    """A response with a good entry, a bad one, unreadable ones, and a missing one."""
    messages = [message(number) for number in range(1, 7)]
    body = result(_1={"DeliveryStatus": "SUCCESSFUL", "MessageId": "m1"}, _2={"DeliveryStatus": "OPT_OUT"})
    body["Result"]["+12025550003"] = "SUCCESSFUL"
    body["Result"]["+12025550004"] = {"DeliveryStatus": 200}
    body["Result"]["+12025550005"] = {}
    body["Result"]["+19995550000"] = {"DeliveryStatus": "SUCCESSFUL", "MessageId": "nobody's"}
    verdicts = read(messages, answer(200, body))
    assert [verdict.outcome for verdict in verdicts] == ["accepted", "rejected"] + ["unknown"] * 4


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>ok</html>",
        b"[]",
        b"{}",
        b'{"Result": null}',
        b'{"Result": []}',
        b'{"MessageResponse": {"Result": {}}}',
        b'{"Result": {"+12025550001": {"DeliveryStatus": "SUCCESSFUL"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"Result": {"+12025550001": ' + b"[" * 100_000,
        b'{"Other": ' + b"[" * 5000 + b"]" * 5000 + b', "Result": {}}',
    ],
)
def test_a_success_without_an_answer_is_an_unknown_fate(body):
    (verdict,) = read([message(1)], answer(200, body))
    assert (verdict.outcome, verdict.code, verdict.reason) == (SendOutcome.UNKNOWN, 9988, "no_answer")


@pytest.mark.parametrize(
    ("status", "error", "outcome", "code", "reason"),
    [
        (429, "TooManyRequestsException", SendOutcome.RETRY, 2020, "throttled"),
        (429, None, SendOutcome.RETRY, 2020, "throttled"),
        (400, "ThrottlingException", SendOutcome.RETRY, 2020, "throttled"),
        (500, "InternalServerErrorException", SendOutcome.UNKNOWN, 9988, "provider_5xx"),
        (500, None, SendOutcome.UNKNOWN, 9988, "provider_5xx"),
        (503, None, SendOutcome.UNKNOWN, 9988, "provider_5xx"),
        (502, None, SendOutcome.UNKNOWN, 9988, "no_answer"),
        (504, None, SendOutcome.UNKNOWN, 9988, "no_answer"),
        (202, None, SendOutcome.UNKNOWN, 9988, "no_answer"),
        (400, "BadRequestException", SendOutcome.REJECTED, 9988, "bad_request"),
        (400, None, SendOutcome.REJECTED, 9988, "bad_request"),
        (413, "PayloadTooLargeException", SendOutcome.REJECTED, 9988, "too_large"),
        (413, None, SendOutcome.REJECTED, 9988, "too_large"),
        (403, "ForbiddenException", SendOutcome.MISCONFIGURED, None, "configuration"),
        (404, "NotFoundException", SendOutcome.MISCONFIGURED, None, "configuration"),
        (404, None, SendOutcome.MISCONFIGURED, None, "configuration"),
        (405, "MethodNotAllowedException", SendOutcome.MISCONFIGURED, None, "configuration"),
        (403, "AccessDeniedException", SendOutcome.MISCONFIGURED, None, "configuration"),
        (403, "UnrecognizedClientException", SendOutcome.MISCONFIGURED, None, "configuration"),
        (403, "InvalidSignatureException", SendOutcome.MISCONFIGURED, None, "configuration"),
        (400, "ExpiredTokenException", SendOutcome.MISCONFIGURED, None, "configuration"),
        (400, "IncompleteSignatureException", SendOutcome.MISCONFIGURED, None, "configuration"),
        (301, None, SendOutcome.MISCONFIGURED, None, "configuration"),
    ],
)
def test_what_becomes_of_a_whole_call(status, error, outcome, code, reason):
    messages = [message(1), message(2)]
    verdicts = read(messages, answer(status, {"Message": "made-up text", "RequestID": "r"}, error))
    assert verdicts == [verdicts[0]] * 2
    found = verdicts[0]
    assert (found.outcome, found.code, found.reason) == (outcome, code, reason)
    assert found.provider_code == (error or f"http_{status}")
    assert found.suppress is None


@pytest.mark.parametrize(
    ("trouble", "sent", "outcome", "reason"),
    [
        ("connect: refused", False, SendOutcome.RETRY, "unreachable"),
        ("dns: no such host", False, SendOutcome.RETRY, "unreachable"),
        ("timeout: no whole answer within 7 s", False, SendOutcome.RETRY, "unreachable"),
        ("timeout: no whole answer within 7 s", True, SendOutcome.UNKNOWN, "no_answer"),
        ("connection_lost: reset", True, SendOutcome.UNKNOWN, "no_answer"),
        ("empty_answer: ", True, SendOutcome.UNKNOWN, "no_answer"),
        ("address_forbidden: 10.0.0.1 is a private address", False, SendOutcome.MISCONFIGURED, "configuration"),
    ],
)
def test_what_becomes_of_a_call_without_an_answer(trouble, sent, outcome, reason):
    (verdict,) = read([message(1)], answer(None, trouble=trouble, sent=sent))
    assert (verdict.outcome, verdict.reason, verdict.detail) == (outcome, reason, trouble)


def test_a_wait_that_was_asked_for():
    (verdict,) = read([message(1)], answer(429, headers=[("retry-after", "30")]))
    assert verdict.retry_after == 30_000_000
    (verdict,) = read([message(1)], answer(429, headers=[("retry-after", "soon")]))
    assert verdict.retry_after is None


def test_a_call_that_one_message_may_have_spoilt():
    two = [message(1), message(2)]
    assert pinpoint.divisible(two, answer(400, b"{}", "BadRequestException"))
    assert pinpoint.divisible(two, answer(413, b"", "PayloadTooLargeException"))
    assert not pinpoint.divisible(two[:1], answer(400, b"{}", "BadRequestException"))
    assert not pinpoint.divisible(two, answer(400, b"{}", "ExpiredTokenException"))
    assert not pinpoint.divisible(two, answer(400, b"{}", "ThrottlingException"))
    assert not pinpoint.divisible(two, answer(200, b"{}"))
    assert not pinpoint.divisible(two, answer(None, trouble="timeout: x"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "DeliveryStatus": st.sampled_from([row[0] for row in STATUSES]) | json_values,
        "StatusMessage": json_values,
        "MessageId": json_values,
        "StatusCode": json_values,
    },
)
addresses = st.sampled_from([message(number).address for number in range(4)]) | st.text(max_size=12)


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=8),
    st.integers(100, 599) | st.just(200) | st.none(),
    st.binary(max_size=60)
    | st.fixed_dictionaries({"Result": st.dictionaries(addresses, entries | json_values)} | {"X": json_values})
    | json_values,
)
def test_no_message_is_lost_whatever_comes_back(numbers, status, body):
    messages = [message(number) for number in numbers]
    response = answer(status, body, trouble=None if status else "timeout: x")
    verdicts = read(messages, response)
    assert len(verdicts) == len(messages)
    fits = pinpoint.together(messages)
    for verdict, fit in zip(verdicts, fits, strict=True):
        assert (verdict.reason == "not_alike") is not fit
        if verdict.outcome is SendOutcome.ACCEPTED:
            assert status == 200
        assert verdict.detail is None or len(verdict.detail) <= 500
        msgspec.json.encode(verdict)
    sent = prepare(messages)[1]["Addresses"]
    assert list(sent) == [m.address for m, fit in zip(messages, fits, strict=True) if fit]


@pytest.fixture(scope="module")
def sink() -> Iterator[Running]:
    """A sink that verifies every signature."""
    with running(settings={"aws": {"credentials": {CONFIG["access_key"]: CONFIG["secret_key"]}}}) as started:
        yield started


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """A client that may reach loopback."""
    client = Outbound(parse_networks(LOOPBACK))
    yield client
    await client.stop()


async def send(outbound: Outbound, sink: Running, *numbers: int, **config: Any) -> list[Verdict]:
    """Return the verdicts on messages that are sent to the sink; the last digits of a number decide its result."""
    account = connection(**{"endpoint_url": sink.url} | config)
    messages = [message(number, f"Grüße {number}") for number in numbers]
    request = pinpoint.prepare(account, messages, lambda _: "", now_us())
    request.timeout_ms = 500
    response, _ = await outbound.fetch(request)
    return pinpoint.read(account, messages, response, now_us())


async def test_one_call_with_every_fate(outbound, sink):
    verdicts = await send(outbound, sink, 101, 4, 5, 6, 7, 9, 10, 11, 102)
    assert [(verdict.outcome, verdict.code, verdict.reason) for verdict in verdicts] == [
        ("accepted", None, None),
        ("rejected", 9988, "opted_out"),
        ("retry", 2020, "throttled"),
        ("retry", 2009, "temporary"),
        ("rejected", 9988, "unknown"),
        ("rejected", 2021, "duplicate"),
        ("rejected", 2003, "invalid_number"),
        ("rejected", 9988, "permanent"),
        ("accepted", None, None),
    ]
    ids = {verdict.provider_message_id for verdict in verdicts if verdict.outcome is SendOutcome.ACCEPTED}
    assert len(ids) == 2
    assert None not in ids


@pytest.mark.parametrize(
    ("number", "config", "outcome", "reason"),
    [
        (14, {}, "unknown", "no_answer"),
        (15, {}, "unknown", "no_answer"),
        (16, {}, "unknown", "provider_5xx"),
        (101, {"secret_key": "another"}, "misconfigured", "configuration"),
        (101, {"access_key": "AKIAOTHER"}, "misconfigured", "configuration"),
        (101, {"project_id": "missing"}, "misconfigured", "configuration"),
        (101, {"project_id": "denied"}, "misconfigured", "configuration"),
        (101, {"project_id": "busy"}, "retry", "throttled"),
        (101, {"project_id": "broken"}, "unknown", "provider_5xx"),
        (101, {"endpoint_url": "http://127.0.0.1:1"}, "retry", "unreachable"),
    ],
)
async def test_a_call_that_fails(outbound, sink, number, config, outcome, reason):
    for verdict in await send(outbound, sink, number, 103, **config):
        assert (verdict.outcome, verdict.reason) == (outcome, reason)
