"""Set-up codes, and what the responses of AWS mean for a connection."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.messaging import failure_codes
from waypost.domain.providers.aws.receipt_stream import (
    TEXT_EVENTS,
    DeliveryStream,
    judge_configuration_set,
    judge_description,
    judge_event_stream,
    judge_listing,
    judge_missing_stream,
    judge_stream,
    parse_stream_arn,
    same_url,
)
from waypost.domain.providers.setup_checks import (
    END_USER_MESSAGING,
    PINPOINT,
    SETUP_CODES,
    CallResult,
    Check,
    Report,
    Result,
    is_temporary,
    is_unreachable,
    judge_account,
    passed,
    unverified,
)

ARN = "arn:aws:firehose:us-east-1:111122223333:deliverystream/dlr"
STREAM = DeliveryStream("us-east-1", "111122223333", "dlr", ARN)
URL = "https://st.waypost.example/tracking/amazon-pinpoint-events"
OK = CallResult(status=200, body={})


def test_the_table_is_whole_and_its_own():
    assert list(SETUP_CODES) == [2001, 2002, 2003, 2004, 2005, 2006]
    for source in (PINPOINT, END_USER_MESSAGING):
        for code, known in source.codes.items():
            assert known.code == code
            assert known.meaning.endswith(".")
            assert len(known.resolution) >= 2
    for code in SETUP_CODES.keys() & failure_codes.FAILURE_CODES.keys():
        assert SETUP_CODES[code].meaning != failure_codes.FAILURE_CODES[code].meaning


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (2001, "Pinpoint account is not accessible for the Region specified during configuration."),
        (2002, "Pinpoint account is not linked to a Kinesis Firehose Data Stream."),
        (
            2003,
            "The Kinesis Firehose Data Stream linked to your Pinpoint account was not found (doesn't exist).",
        ),
        (2004, "The linked Kinesis Firehose Data Stream is Inactive."),
        (
            2005,
            "No HTTP destination has been configured in the Kinesis Firehose Data Stream linked to your Pinpoint "
            "account.",
        ),
        (
            2006,
            "The HTTP destination configured for your Kinesis Firehose Data Stream does not match the Waypost tracker "
            "endpoint URL.",
        ),
    ],
)
def test_what_the_codes_mean(code, meaning):
    assert SETUP_CODES[code].meaning == meaning


def error(status: int, name: str | None = None) -> CallResult:
    """Return an error response."""
    return CallResult(status=status, error=name, message="made-up text")


def silence(trouble: str, sent: bool = True) -> CallResult:
    """Return a call without a response."""
    return CallResult(trouble=trouble, sent=sent)


@pytest.mark.parametrize(
    ("called", "result", "code"),
    [
        (error(403, "ForbiddenException"), "failed", 2001),
        (error(403, "AccessDeniedException"), "failed", 2001),
        (error(403, "UnrecognizedClientException"), "failed", 2001),
        (error(403, "InvalidSignatureException"), "failed", 2001),
        (error(400, "ExpiredTokenException"), "failed", 2001),
        (error(400, "BadRequestException"), "failed", 2001),
        (error(301), "failed", 2001),
        (silence("dns: no such host", False), "failed", 2001),
        (silence("connect: refused", False), "failed", 2001),
        (silence("timeout: nobody took it", False), "failed", 2001),
        (silence("timeout: no whole answer"), "unverified", None),
        (silence("connection_lost: reset"), "unverified", None),
        (silence("proxy: refused", False), "unverified", None),
        (silence("tls: bad certificate", False), "unverified", None),
        (silence("address_forbidden: 10.0.0.1 is private", False), "unverified", None),
        (error(429, "TooManyRequestsException"), "unverified", None),
        (error(400, "ThrottlingException"), "unverified", None),
        (error(500, "InternalServerErrorException"), "unverified", None),
        (error(503), "unverified", None),
    ],
)
def test_the_first_call(called, result, code):
    for source in (PINPOINT, END_USER_MESSAGING):
        check = judge_account(source, called, "event_stream", "x:Y")
        assert check is not None
        assert (check.result, check.setup_code, check.ok) == (result, code, False)
        assert check.error == called.error
        assert check.meaning
        assert check.resolution
    assert judge_account(PINPOINT, OK, "event_stream", "x:Y") is None


def test_what_is_tried_again():
    assert is_temporary(silence("timeout: x"))
    assert is_temporary(silence("connect: x", False))
    assert not is_temporary(silence("address_forbidden: x", False))
    assert not is_temporary(silence("not_sent: x", False))
    assert is_temporary(error(500))
    assert is_temporary(error(400, "LimitExceededException"))
    assert not is_temporary(error(404))
    assert not is_temporary(OK)
    assert not is_unreachable(error(404))


@pytest.mark.parametrize(
    ("arn", "code", "words"),
    [
        ("arn:aws:kinesis:us-east-1:111122223333:stream/dlr", 2002, "not the ARN of a Firehose delivery stream"),
        ("arn:aws:firehose:us-east-1:111122223333:stream/dlr", 2002, "not the ARN of a Firehose delivery stream"),
        ("nonsense", 2002, "not the ARN of a Firehose delivery stream"),
        (None, 2002, "not the ARN of a Firehose delivery stream"),
        (7, 2002, "not the ARN of a Firehose delivery stream"),
        ("arn:aws:firehose:eu-west-1:111122223333:deliverystream/dlr", 2001, "eu-west-1"),
        (ARN, None, None),
        ("arn:aws-us-gov:firehose:us-east-1:111122223333:deliverystream/a.b-c_d", None, None),
    ],
)
def test_what_a_project_is_linked_to(arn, code, words):
    found = judge_event_stream(CallResult(status=200, body={"DestinationStreamArn": arn}), "us-east-1", "x:Y")
    if code is None:
        assert isinstance(found, DeliveryStream)
        assert (found.region, found.account_id, found.arn) == ("us-east-1", "111122223333", arn)
    else:
        assert isinstance(found, Check)
        assert found.setup_code == code
        assert words in (found.detail or "")


def test_an_event_stream_that_is_no_json_is_no_verdict():
    found = judge_event_stream(CallResult(status=200, body=None), "us-east-1", "x:Y")
    assert isinstance(found, Check)
    assert found.result is Result.UNVERIFIED


@pytest.mark.parametrize(
    ("app", "result", "code", "call"),
    [
        (error(404, "NotFoundException"), "failed", 2001, "GetApp"),
        (OK, "failed", 2002, "GetEventStream"),
        (error(403, "ForbiddenException"), "failed", 2002, "GetEventStream"),
        (error(400, "AccessDeniedException"), "failed", 2002, "GetEventStream"),
        (error(500), "unverified", None, "GetApp"),
        (silence("timeout: x"), "unverified", None, "GetApp"),
    ],
)
def test_a_missing_event_stream_or_a_missing_project(app, result, code, call):
    check = judge_missing_stream(app, "GetEventStream", "GetApp")
    assert (check.result, check.setup_code, check.call) == (result, code, call)


def configuration_set(*destinations: dict[str, Any], name: str = "promo") -> CallResult:
    """Return the response of DescribeConfigurationSets for one set."""
    found = {
        "ConfigurationSetArn": f"arn:aws:sms-voice:us-east-1:111122223333:configuration-set/{name}",
        "ConfigurationSetName": name,
        "EventDestinations": list(destinations),
        "CreatedTimestamp": 1790000000.0,
    }
    return CallResult(status=200, body={"ConfigurationSets": [found]})


def destination(arn: Any = ARN, *, types: Any = ("TEXT_ALL",), enabled: Any = True) -> dict[str, Any]:
    """Return an event destination that sends to Firehose."""
    return {
        "EventDestinationName": "fh",
        "Enabled": enabled,
        "MatchingEventTypes": list(types),
        "KinesisFirehoseDestination": {"IamRoleArn": "arn:aws:iam::1:role/x", "DeliveryStreamArn": arn},
    }


@pytest.mark.parametrize("wanted", ["promo", "arn:aws:sms-voice:us-east-1:111122223333:configuration-set/promo"])
@pytest.mark.parametrize("types", [["ALL"], ["TEXT_ALL", "VOICE_ALL"], sorted(TEXT_EVENTS)])
def test_a_configuration_set_that_sends_its_events(wanted, types):
    found = judge_configuration_set(configuration_set(destination(types=types)), wanted, "us-east-1", "x:Y")
    assert isinstance(found, list)
    ((stream, check),) = found
    assert stream == STREAM
    assert check.result is Result.OK


def test_a_configuration_set_that_leaves_events_out():
    found = judge_configuration_set(
        configuration_set(destination(types=["TEXT_DELIVERED"])), "promo", "us-east-1", "x:Y"
    )
    assert isinstance(found, list)
    check = found[0][1]
    assert (check.result, check.ok) == (Result.WARNING, True)
    assert "TEXT_UNREACHABLE" in (check.detail or "")
    assert "TEXT_DELIVERED" not in (check.detail or "").replace("TEXT_DELIVERED_", "")


@pytest.mark.parametrize(
    ("called", "code"),
    [
        (error(400, "ResourceNotFoundException"), 2002),
        (error(400, "AccessDeniedException"), 2001),
        (CallResult(status=200, body={"ConfigurationSets": []}), 2002),
        (CallResult(status=200, body={}), 2002),
        (configuration_set(destination(), name="other"), 2002),
        (configuration_set(), 2002),
        (configuration_set(destination(enabled=False)), 2002),
        (configuration_set(destination(enabled="yes")), 2002),
        (configuration_set(destination(types=["VOICE_ALL"])), 2002),
        (configuration_set(destination(types=[1, None])), 2002),
        (configuration_set({"Enabled": True, "MatchingEventTypes": ["ALL"], "SnsDestination": {}}), 2002),
        (configuration_set(destination("arn:aws:kinesis:us-east-1:1:stream/x")), 2002),
        (configuration_set(destination(ARN.replace("us-east-1", "eu-west-1"))), 2001),
    ],
)
def test_a_configuration_set_that_does_not(called, code):
    found = judge_configuration_set(called, "promo", "us-east-1", "x:Y")
    assert isinstance(found, Check)
    assert (found.result, found.setup_code) == (Result.FAILED, code)


def test_a_good_destination_beside_a_bad_one():
    called = configuration_set(destination("nonsense"), destination(), destination(enabled=False))
    found = judge_configuration_set(called, "promo", "us-east-1", "x:Y")
    assert isinstance(found, list)
    assert [stream.name for stream, _ in found] == ["dlr"]


def described(**changes: Any) -> dict[str, Any]:
    """Return a stream as DescribeDeliveryStream describes it."""
    endpoint = {
        "EndpointConfiguration": {"Url": URL, "Name": "waypost"},
        "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60},
        "RequestConfiguration": {"ContentEncoding": "GZIP"},
    }
    return {
        "DeliveryStreamName": "dlr",
        "DeliveryStreamARN": ARN,
        "DeliveryStreamStatus": "ACTIVE",
        "DeliveryStreamType": "DirectPut",
        "Destinations": [{"DestinationId": "d1", "HttpEndpointDestinationDescription": endpoint | changes}],
        "HasMoreDestinations": False,
    }


def test_a_stream_that_brings_its_records_here():
    found = judge_stream(
        PINPOINT, CallResult(status=200, body={"DeliveryStreamDescription": described()}), STREAM, "x:Y"
    )
    assert isinstance(found, dict)
    checks = judge_description(PINPOINT, found, URL, "x:Y")
    assert [(check.name, check.result) for check in checks] == [
        ("status", "ok"),
        ("destination", "ok"),
        ("tracker_url", "ok"),
    ]


@pytest.mark.parametrize(
    ("description", "code"),
    [
        (described() | {"DeliveryStreamStatus": "CREATING"}, 2004),
        (described() | {"DeliveryStreamStatus": "SUSPENDED_IN_2031"}, 2004),
        (described() | {"DeliveryStreamStatus": None}, 2004),
        (described() | {"Destinations": []}, 2005),
        (described() | {"Destinations": None}, 2005),
        (described() | {"Destinations": [{"S3DestinationDescription": {}}]}, 2005),
        (described(EndpointConfiguration={"Url": "https://elsewhere.example/"}), 2006),
        (described(EndpointConfiguration={"Url": URL + "/"}), 2006),
        (described(EndpointConfiguration={"Url": 7}), 2006),
        (described(EndpointConfiguration=None), 2006),
    ],
)
def test_a_stream_that_does_not(description, code):
    *before, last = judge_description(PINPOINT, description, URL, "x:Y")
    assert (last.result, last.setup_code) == (Result.FAILED, code)
    assert all(check.ok for check in before)


def test_a_password_in_a_url_is_not_shown():
    description = described(EndpointConfiguration={"Url": "https://me:hunter2@elsewhere.example/x"})
    last = judge_description(PINPOINT, description, URL, "x:Y")[-1]
    assert "elsewhere.example/x" in (last.detail or "")
    assert "hunter2" not in (last.detail or "")


@pytest.mark.parametrize(
    ("hints", "warned"),
    [
        ({"IntervalInSeconds": 300}, True),
        ({"IntervalInSeconds": 61}, True),
        ({"IntervalInSeconds": 60}, False),
        ({"IntervalInSeconds": 0}, False),
        ({"IntervalInSeconds": "300"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_receipts_that_wait_long(hints, warned):
    checks = judge_description(PINPOINT, described(BufferingHints=hints), URL, "x:Y")
    assert [check.name for check in checks if check.result is Result.WARNING] == (["buffering"] if warned else [])
    assert all(check.ok for check in checks)


@pytest.mark.parametrize(
    ("called", "result", "code"),
    [
        (error(400, "ResourceNotFoundException"), "failed", 2003),
        (error(404), "failed", 2003),
        (error(400, "UnrecognizedClientException"), "failed", 2001),
        (error(400, "LimitExceededException"), "unverified", None),
        (error(500), "unverified", None),
        (silence("timeout: x"), "unverified", None),
        (CallResult(status=200, body=None), "unverified", None),
        (CallResult(status=200, body={"DeliveryStreamDescription": []}), "unverified", None),
    ],
)
def test_a_stream_that_is_not_described(called, result, code):
    found = judge_stream(PINPOINT, called, STREAM, "x:Y")
    assert isinstance(found, Check)
    assert (found.result, found.setup_code) == (result, code)


def test_a_stream_of_another_account():
    other = described() | {"DeliveryStreamARN": ARN.replace("111122223333", "444455556666")}
    found = judge_stream(PINPOINT, CallResult(status=200, body={"DeliveryStreamDescription": other}), STREAM, "x:Y")
    assert isinstance(found, Check)
    assert found.setup_code == 2003
    assert "111122223333" in (found.detail or "")
    assert "444455556666" in (found.detail or "")


def test_a_stream_that_may_not_be_described():
    refusal = error(400, "AccessDeniedException")
    absent = judge_listing(PINPOINT, STREAM, ["a", "b"], True, refusal, "Describe", "List")
    assert (absent.result, absent.setup_code, absent.call) == (Result.FAILED, 2003, "List")
    for names, complete in ((["a", "dlr"], True), ([], False), (["dlr"], False)):
        kept = judge_listing(PINPOINT, STREAM, names, complete, refusal, "Describe", "List")
        assert (kept.result, kept.setup_code, kept.call) == (Result.FAILED, None, "Describe")
        assert kept.error == "AccessDeniedException"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (URL, True),
        (URL.replace("https://st", "HTTPS://ST"), True),
        (URL.replace(".example/", ".example:443/"), True),
        (URL.replace("https:", "http:"), False),
        (URL.replace(".example/", ".example:8443/"), False),
        (URL + "/", False),
        (URL + "?x=1", False),
        (URL.replace("tracking", "Tracking"), False),
        (URL.replace("tracking", "%74racking"), False),
        (URL.replace("//", "//user@"), False),
        (" " + URL, False),
        (URL + "\n", False),
        (URL + "#here", True),
        ("", False),
        ("https://", False),
        ("https://[::1/x", False),
        ("https://st.waypost.example:notaport/tracking/amazon-pinpoint-events", False),
        ("ftp://st.waypost.example/tracking/amazon-pinpoint-events", False),
    ],
)
def test_urls_that_lead_to_the_same_place(other, same):
    assert same_url(URL, other) is same
    assert same_url(other, URL) is same


def test_the_port_of_the_scheme():
    assert same_url("http://h:80/x", "http://h/x")
    assert not same_url("http://h:443/x", "http://h/x")
    assert same_url("https://h", "https://h:443/")
    assert not same_url("https://h/x", "https://h/y")


hosts = st.from_regex(r"[a-z0-9]{1,8}(\.[a-z]{2,5}){0,2}", fullmatch=True)
paths = st.from_regex(r"(/[A-Za-z0-9._~%-]{0,6}){0,3}(\?[a-z0-9=&]{0,8})?", fullmatch=True)


@given(st.sampled_from(["http", "https"]), hosts, paths, st.randoms(use_true_random=False))
def test_case_of_the_host_and_the_own_port_change_nothing(scheme, host, path, random):
    url = f"{scheme}://{host}{path}"
    port = {"http": 80, "https": 443}[scheme]
    shouted = "".join(random.choice((letter, letter.upper())) for letter in f"{scheme}://{host}")
    assert same_url(url, url)
    assert same_url(url, f"{shouted}:{port}{path}")
    assert not same_url(url, f"{scheme}://{host}:{port + 1}{path}")


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_is_too_strange_to_compare(left, right):
    assert same_url(left, right) is same_url(right, left)
    if same_url(left, right):
        assert same_url(left, left)


@given(hosts, paths, paths)
def test_other_paths_are_other_places(host, path, other):
    first, second = (text if text.startswith("/") else f"/{text}" for text in (path, other))
    assert same_url(f"https://{host}{path}", f"https://{host}{other}") is (first == second)


@given(st.text(max_size=80))
def test_no_arn_is_too_strange_to_read(arn):
    found = parse_stream_arn(arn)
    assert found is None or found.arn == arn


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.just(ARN) | st.just("ACTIVE"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
names = [
    "DestinationStreamArn", "ConfigurationSets", "ConfigurationSetName", "EventDestinations", "Enabled",
    "MatchingEventTypes", "KinesisFirehoseDestination", "DeliveryStreamArn", "DeliveryStreamDescription",
    "DeliveryStreamARN", "DeliveryStreamStatus", "Destinations", "HttpEndpointDestinationDescription",
    "EndpointConfiguration", "Url", "BufferingHints", "IntervalInSeconds",
]  # fmt: skip
bodies = st.recursive(
    values,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(names), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(names), bodies) | st.none(), st.integers(100, 599))
def test_no_body_is_too_strange_to_judge(body, status):
    called = CallResult(status=status, body=body)
    judge_event_stream(called, "us-east-1", "x:Y")
    judge_configuration_set(called, "promo", "us-east-1", "x:Y")
    judge_missing_stream(called, "x:Y", "x:Z")
    judge_stream(PINPOINT, called, STREAM, "x:Y")
    for check in judge_description(END_USER_MESSAGING, body or {}, URL, "x:Y"):
        msgspec.json.encode(check)
        assert len(check.detail or "") < 1000


def test_a_report_in_one_word():
    good = passed("a", "x:Y")
    warning = Check(name="b", call="x:Y", result=Result.WARNING)
    unsure = unverified("c", "x:Y", "nobody there")
    bad = judge_account(PINPOINT, error(403), "d", "x:Y")
    assert bad is not None
    assert Report(checks=()).result is Result.OK
    assert Report(checks=(good,)).result is Result.OK
    assert Report(checks=(good, warning)).result is Result.WARNING
    assert Report(checks=(good, unsure)).result is Result.UNVERIFIED
    assert Report(checks=(good, warning, bad)).result is Result.FAILED
    assert Report(checks=(good, bad)).failure is bad
    assert Report(checks=(good, unsure)).failure is None
    assert Report(checks=(good, unsure)).unverified is unsure


def test_the_reference_has_every_code():
    page = (Path(__file__).parents[3] / "docs" / "reference" / "setup-codes.md").read_text("utf-8")
    for source in (PINPOINT, END_USER_MESSAGING):
        for known in source.codes.values():
            assert f"| {known.code} | {known.meaning} | {' '.join(known.resolution)} |" in page
