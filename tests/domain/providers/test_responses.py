"""The meaning of responses: every row of the built-in tables, the defaults, and that nothing raises."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.clock import DAY, SECOND
from waypost.domain.messaging.message import SendOutcome, Verdict
from waypost.domain.providers.connection_config import check_config
from waypost.domain.providers.connector import ResponseReading, ResponseRule
from waypost.domain.providers.definition import parse_own_connector
from waypost.domain.providers.responses import ProviderResponse, judge
from waypost.engine.providers.connectors import shipped

NOW = 1_790_000_000 * SECOND
GATEWAY = {
    "success_statuses": "200-204",
    "retry_statuses": "503",
    "id_path": "data.0.id",
    "error_code_path": "code|error.code",
    "error_detail_path": "message",
}
HTTP = {name: connector for name, connector in shipped().items() if connector.driver == "http"}


def test_a_gateway_of_unknown_manners_may_have_taken_what_it_answers_with_503():
    config = check_config(shipped()["http"], {"url": "https://gateway.example/send"})
    assert summary(judge(shipped()["http"], config, response(503), NOW)) == ("unknown", 9988, "provider_5xx", None)
    assert summary(judge(shipped()["http"], config, response(429), NOW))[0] == "retry"
    told = config | {"retry_statuses": "503"}
    assert summary(judge(shipped()["http"], told, response(503), NOW))[0] == "retry"


def response(
    status: int | None, body: Any = b"", headers: dict[str, str] | None = None, **changes: Any
) -> ProviderResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    pairs = [(name.lower(), value) for name, value in (headers or {}).items()]
    return ProviderResponse(status=status, headers=pairs, body=raw, **changes)


def verdict(name: str, answer: ProviderResponse, config: dict[str, Any] | None = None) -> Verdict:
    return judge(shipped()[name], config or (GATEWAY if name == "http" else {}), answer, NOW)


def summary(found: Verdict) -> tuple[str, int | None, str | None, str | None]:
    return found.outcome.value, found.code, found.reason, found.suppress


def aws(kind: str, reason: str | None = None, **more: Any) -> ProviderResponse:
    body = {"__type": f"com.amazonaws.smsvoice#{kind}", "Message": "x"} | more
    return response(400, body | ({"Reason": reason} if reason else {}))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (aws("ThrottlingException"), ("retry", 2020, "throttled", None)),
        (
            aws("ServiceQuotaExceededException", "MONTHLY_SPEND_LIMIT_REACHED_FOR_TEXT"),
            ("rejected", 2000, "spend_limit", None),
        ),
        (aws("ServiceQuotaExceededException", "OTHER"), ("rejected", 9988, "quota", None)),
        (aws("ValidationException", "PRICE_OVER_THRESHOLD"), ("rejected", 2000, "max_price", None)),
        (
            aws("ValidationException", "FIELD_VALIDATION_FAILED", Fields=[{"Name": "DestinationPhoneNumber"}]),
            ("rejected", 2003, "invalid_number", "invalid_number"),
        ),
        (
            aws("ValidationException", "FIELD_VALIDATION_FAILED", Fields=[{"Name": "A"}]),
            ("rejected", 9988, "validation", None),
        ),
        (
            aws("ConflictException", "DESTINATION_PHONE_NUMBER_OPTED_OUT"),
            ("rejected", 9988, "opted_out", "opted_out"),
        ),
        (
            aws("ConflictException", "DESTINATION_COUNTRY_BLOCKED_BY_PROTECT_CONFIGURATION"),
            ("rejected", 9988, "protect_blocked", None),
        ),
        (aws("ConflictException", "OTHER"), ("rejected", 9988, "conflict", None)),
        (aws("AccessDeniedException"), ("misconfigured", None, "configuration", None)),
        (aws("ResourceNotFoundException"), ("misconfigured", None, "configuration", None)),
        (aws("UnrecognizedClientException"), ("misconfigured", None, "configuration", None)),
        (aws("InternalServerException"), ("unknown", 9988, "provider_5xx", None)),
        (response(400, {"__type": "ThrottlingException"}), ("retry", 2020, "throttled", None)),
        (response(400, {"__type": "SomethingNew"}), ("rejected", 9988, "refused", None)),
        (response(500, b"<html>"), ("unknown", 9988, "provider_5xx", None)),
        (response(503), ("unknown", 9988, "provider_5xx", None)),
        # A 2xx response without an id: it is unknown whether the message was accepted.
        (response(200, b"{}"), ("unknown", 9988, "no_answer", None)),
    ],
)
def test_end_user_messaging(answer, expected):
    assert summary(verdict("aws-end-user-messaging", answer)) == expected


def test_end_user_messaging_keeps_what_aws_said():
    found = verdict("aws-end-user-messaging", aws("ConflictException", "DESTINATION_PHONE_NUMBER_OPTED_OUT"))
    assert (found.provider_code, found.detail) == ("DESTINATION_PHONE_NUMBER_OPTED_OUT", "x")
    assert verdict("aws-end-user-messaging", response(200, {"MessageId": "m-1"})).provider_message_id == "m-1"


def twilio(status: int, code: int) -> ProviderResponse:
    return response(status, {"code": code, "message": "made-up", "status": status})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (twilio(400, 21211), ("rejected", 2003, "invalid_number", "invalid_number")),
        (twilio(400, 21614), ("rejected", 2003, "invalid_number", "invalid_number")),
        (twilio(400, 30005), ("rejected", 2003, "invalid_number", "invalid_number")),
        (twilio(400, 30006), ("rejected", 2003, "landline", "invalid_number")),
        (twilio(400, 30003), ("rejected", 2009, "unreachable", None)),
        (twilio(400, 30004), ("rejected", 2015, "blocked", None)),
        (twilio(400, 30007), ("rejected", 2015, "carrier_blocked", None)),
        (twilio(400, 30036), ("rejected", 2008, "expired", None)),
        (twilio(400, 21610), ("rejected", 9988, "opted_out", "opted_out")),
        (twilio(429, 20429), ("retry", 2020, "throttled", None)),
        (twilio(429, 30001), ("retry", 2020, "throttled", None)),
        (twilio(401, 20003), ("misconfigured", None, "configuration", None)),
        (twilio(403, 1), ("misconfigured", None, "configuration", None)),
        (twilio(400, 21606), ("misconfigured", None, "sender", None)),
        (twilio(400, 99999), ("rejected", 9988, "refused", None)),
        (response(503), ("unknown", 9988, "provider_5xx", None)),
        (response(502), ("unknown", 9988, "provider_5xx", None)),
        (response(500, twilio(500, 20500).body), ("unknown", 9988, "provider_5xx", None)),
    ],
)
def test_twilio(answer, expected):
    assert summary(verdict("twilio", answer)) == expected


def test_twilio_takes_a_message():
    found = verdict("twilio", response(201, {"sid": "SM1", "status": "accepted", "code": None}))
    assert found == Verdict(outcome=SendOutcome.ACCEPTED, provider_message_id="SM1")
    assert verdict("twilio", twilio(400, 21211)).provider_code == "21211"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (response(202, b"", {"X-Message-Id": "sg-1"}), ("accepted", None, None, None)),
        (
            response(401, {"errors": [{"message": "authorization required"}]}),
            ("misconfigured", None, "configuration", None),
        ),
        (response(403), ("misconfigured", None, "configuration", None)),
        (response(413), ("rejected", 9988, "too_large", None)),
        (response(429), ("retry", 2020, "throttled", None)),
        (response(500), ("unknown", 9988, "provider_5xx", None)),
        (response(503), ("unknown", 9988, "provider_5xx", None)),
        (
            response(400, {"errors": [{"message": "no", "field": "personalizations.0.to.0.email"}]}),
            ("rejected", 2003, "invalid_address", "invalid_address"),
        ),
        (
            response(400, {"errors": [{"message": "no", "field": "from.email"}]}),
            ("misconfigured", None, "sender", None),
        ),
        (response(400, {"errors": [{"message": "no", "field": "content"}]}), ("rejected", 9988, "refused", None)),
    ],
)
def test_sendgrid(answer, expected):
    assert summary(verdict("sendgrid", answer)) == expected


def test_sendgrid_says_until_when_to_wait():
    found = verdict("sendgrid", response(429, b"", {"X-RateLimit-Reset": str(1_790_000_060)}))
    assert found.retry_after == 60 * SECOND
    assert verdict("sendgrid", response(202, b"", {"X-Message-Id": "sg-1"})).provider_message_id == "sg-1"


@pytest.mark.parametrize(
    ("name", "answer", "expected"),
    [
        ("wunderkind", response(200), ("accepted", None, None, None)),
        ("wunderkind", response(409), ("rejected", 2021, "duplicate", None)),
        ("wunderkind", response(401), ("misconfigured", None, "configuration", None)),
        ("wunderkind", response(422, {"detail": "x"}), ("rejected", 9988, "refused", None)),
        ("wunderkind", response(429), ("retry", 2020, "throttled", None)),
        ("wunderkind", response(500), ("unknown", 9988, "provider_5xx", None)),
        ("wunderkind", response(503), ("unknown", 9988, "provider_5xx", None)),
        ("klaviyo", response(202), ("accepted", None, None, None)),
        ("klaviyo", response(401), ("misconfigured", None, "configuration", None)),
        (
            "klaviyo",
            response(400, {"errors": [{"code": "invalid", "detail": "x"}]}),
            ("rejected", 9988, "refused", None),
        ),
        ("klaviyo", response(429), ("retry", 2020, "throttled", None)),
        # Klaviyo deduplicates events by their id.
        ("klaviyo", response(500), ("retry", 9988, "provider_5xx", None)),
        ("klaviyo", response(None, error="timeout: x"), ("retry", 9988, "no_answer", None)),
        ("http", response(200, {"data": [{"id": 7}]}), ("accepted", None, None, None)),
        ("http", response(204), ("accepted", None, None, None)),
        ("http", response(429), ("retry", 2020, "throttled", None)),
        ("http", response(503), ("retry", 9988, "provider_5xx", None)),
        ("http", response(205), ("unknown", 9988, "no_answer", None)),
        ("http", response(400, {"code": 3}), ("rejected", 9988, "refused", None)),
    ],
)
def test_the_others(name, answer, expected):
    assert summary(verdict(name, answer)) == expected


def test_the_id_of_a_gateway_may_be_a_number():
    assert verdict("http", response(200, {"data": [{"id": 7}]})).provider_message_id == "7"
    assert verdict("http", response(400, {"error": {"code": 3}})).provider_code == "3"


BARE = parse_own_connector(
    """
name = "bare"
label = "Bare"
channel = "sms"
base_url = "https://bare.example"
answers = [
    { status = 200, outcome = "accepted" },
    { error = ["dns"], outcome = "misconfigured" },
    { status = 418, header = { x-kind = "tea*" }, outcome = "rejected", code = 2015, reason = "tea" },
]
""",
    "bare",
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (response(201), ("unknown", "no_answer")),
        (response(302), ("misconfigured", "redirected")),
        (response(401), ("misconfigured", "configuration")),
        (response(403), ("misconfigured", "configuration")),
        (response(404), ("misconfigured", "configuration")),
        (response(408), ("retry", "temporary")),
        (response(429), ("retry", "throttled")),
        (response(400), ("rejected", "refused")),
        (response(418), ("rejected", "refused")),
        (response(418, headers={"X-Kind": "Tea, hot"}), ("rejected", "tea")),
        (response(500), ("unknown", "provider_5xx")),
        (response(503), ("unknown", "provider_5xx")),
        (response(None, error="dns: x"), ("misconfigured", "configuration")),
        (response(None, error="connect: x"), ("retry", "unreachable")),
        (response(None, error="tls: x"), ("retry", "unreachable")),
        (response(None, error="proxy: x"), ("retry", "unreachable")),
        (response(None, error="not_sent: x"), ("retry", "unreachable")),
        (response(None, error="address_forbidden: x"), ("misconfigured", "address_forbidden")),
        (response(None, error="timeout: x", sent=False), ("retry", "unreachable")),
        (response(None, error="timeout: x"), ("unknown", "no_answer")),
        (response(None, error="connection_lost: x"), ("unknown", "no_answer")),
        (response(None, error="empty_answer: x"), ("unknown", "no_answer")),
        (response(None, error="not_http: x"), ("unknown", "no_answer")),
        (response(None, error="curl_99: x"), ("unknown", "no_answer")),
    ],
)
def test_what_holds_without_a_rule(answer, expected):
    found = judge(BARE, {}, answer, NOW)
    assert (found.outcome.value, found.reason) == expected


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("7", 7 * SECOND),
        ("1.5", 1.5 * SECOND),
        ("0", 0),
        ("-5", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("999999999", DAY),
        ("Mon, 21 Sep 2026 14:14:20 GMT", 60 * SECOND),
    ],
)
def test_how_long_to_wait(value, wait):
    assert judge(BARE, {}, response(429, b"", {"Retry-After": value}), NOW).retry_after == wait


def test_only_a_retry_waits():
    assert judge(BARE, {}, response(400, b"", {"Retry-After": "7"}), NOW).retry_after is None


def test_what_a_provider_says_is_bounded():
    found = judge(BARE, {}, response(400, b"x" * 100_000), NOW)
    assert found.detail is not None
    assert len(found.detail) == 500
    long = verdict("http", response(200, {"data": [{"id": "x" * 9999}]})).provider_message_id
    assert long is not None
    assert len(long) == 200


@given(
    st.sampled_from(sorted(HTTP)),
    st.none() | st.integers(100, 599),
    st.binary(max_size=60)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode),
    st.dictionaries(st.sampled_from(["retry-after", "x-ratelimit-reset", "x-message-id"]), st.text(max_size=30)),
)
def test_no_answer_raises(name, status, body, headers):
    found = verdict(name, response(status, body, headers, error=None if status else "strange"))
    assert found.outcome in SendOutcome
    assert found.retry_after is None or 0 <= found.retry_after <= DAY
    # Every outcome that is or may become final has a code, except `misconfigured`.
    if found.outcome in (SendOutcome.REJECTED, SendOutcome.RETRY, SendOutcome.UNKNOWN):
        assert found.code is not None
        assert found.reason


def test_an_expression_that_takes_too_much_decides_nothing():
    connector = msgspec.structs.replace(
        HTTP["http"],
        read=ResponseReading(id="{% for i in (1..1001) %}{% endfor %}id", detail="message"),
        answers=(ResponseRule(status="{% for i in (1..1001) %}{% endfor %}200", outcome=SendOutcome.REJECTED),),
    )
    found = judge(connector, {}, response(400, {"id": "a", "message": "no"}), NOW)
    assert (found.outcome, found.detail) == (SendOutcome.REJECTED, "no")
    assert judge(connector, {}, response(200, {"id": "a"}), NOW).provider_message_id is None
