"""AWS requests: signatures compared with boto3's, URLs of services, and parsing of responses."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.conftest import LOOPBACK, listening
from waypost.domain.providers.setup_checks import CallResult
from waypost.domain.values.egress_guard import parse_networks
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import Response
from waypost.engine.providers.drivers import aws

# boto3 warns of versions of Python that it will not support any more.
pytestmark = pytest.mark.filterwarnings("ignore::boto3.exceptions.PythonDeprecationWarning")

NOW = 1_790_000_000_000_000
CONFIG = {"region": "us-east-1", "access_key": "AKIDEXAMPLE", "secret_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}


class _SeenError(Exception):
    """Ends a boto3 call before it is sent, with the request."""


def boto3_request(service: str, operation: str, arguments: dict[str, Any], **client: Any) -> Any:
    """Return the request that boto3 builds and signs for a call."""
    maker = boto3.client(
        service,
        region_name=CONFIG["region"],
        aws_access_key_id=CONFIG["access_key"],
        aws_secret_access_key=CONFIG["secret_key"],
        **client,
    )

    def stop(request: Any, **_: Any) -> None:
        raise _SeenError(request)

    maker.meta.events.register("before-send.*", stop)
    with pytest.raises(_SeenError) as seen:
        getattr(maker, operation)(**arguments)
    return seen.value.args[0]


def text(value: bytes | str) -> str:
    """Return a header as text."""
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize(
    ("service", "name", "operation", "arguments"),
    [
        (
            "pinpoint",
            "mobiletargeting",
            "send_messages",
            {
                "ApplicationId": "0f1e2d",
                "MessageRequest": {
                    "Addresses": {"+12025550101": {"ChannelType": "SMS", "BodyOverride": "Grüße ☂"}},
                    "MessageConfiguration": {"SMSMessage": {"MessageType": "PROMOTIONAL"}},
                },
            },
        ),
        ("pinpoint", "mobiletargeting", "get_event_stream", {"ApplicationId": "a b/c"}),
        (
            "pinpoint-sms-voice-v2",
            "sms-voice",
            "send_text_message",
            {"DestinationPhoneNumber": "+12025550101", "MessageBody": "hello"},
        ),
        ("firehose", "firehose", "describe_delivery_stream", {"DeliveryStreamName": "dlr"}),
        ("firehose", "firehose", "list_delivery_streams", {"Limit": 10}),
    ],
)
@pytest.mark.parametrize(
    "client",
    [{}, {"endpoint_url": "http://127.0.0.1:8099/aws"}, {"aws_session_token": "IQoJb3JpZ2luX2VjEXAMPLETOKEN=="}],
    ids=["plain", "endpoint_url", "session_token"],
)
def test_signatures_are_those_of_boto3(service, name, operation, arguments, client):
    seen = boto3_request(service, operation, arguments, **client)
    headers = {key.lower(): text(value) for key, value in seen.headers.items()}
    signed = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    lines = [f"{key}: {headers[key]}" for key in signed if key not in ("host", "x-amz-date", "x-amz-security-token")]
    at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    body = seen.body.encode() if isinstance(seen.body, str) else seen.body or b""
    ours = aws.sign(
        seen.method,
        seen.url,
        lines,
        body,
        service=name,
        region=CONFIG["region"],
        access_key=CONFIG["access_key"],
        secret_key=CONFIG["secret_key"],
        session_token=client.get("aws_session_token", ""),
        now=int(at.timestamp()) * 1_000_000 + 999_999,
    )
    assert ours[: len(lines)] == lines
    added = {key.lower(): value for key, _, value in (line.partition(": ") for line in ours[len(lines) :])}
    assert added["authorization"] == headers["authorization"]
    assert added["x-amz-date"] == headers["x-amz-date"]
    assert added.get("x-amz-security-token") == headers.get("x-amz-security-token")


def test_requests_are_those_of_boto3():
    """The set-up calls have the method, URL, target and content type that boto3 builds from its model."""
    for target, service, operation, arguments, path in (
        (aws.GET_EVENT_STREAM, "pinpoint", "get_event_stream", {"ApplicationId": "a b/c"}, ["a b/c"]),
        (aws.GET_APP, "pinpoint", "get_app", {"ApplicationId": "p1"}, ["p1"]),
        (aws.DESCRIBE_STREAM, "firehose", "describe_delivery_stream", {"DeliveryStreamName": "d"}, []),
        (aws.LIST_STREAMS, "firehose", "list_delivery_streams", {"Limit": 10}, []),
        (
            aws.DESCRIBE_CONFIGURATION_SETS,
            "pinpoint-sms-voice-v2",
            "describe_configuration_sets",
            {"ConfigurationSetNames": ["c"]},
            [],
        ),
    ):
        seen = boto3_request(service, operation, arguments)
        headers = {key.lower(): text(value) for key, value in seen.headers.items()}
        body = b"" if path else json.dumps(arguments).encode()
        ours = aws.signed_request(target, CONFIG, NOW, body, *path, timeout_ms=1000)
        lines = {key.lower(): value for key, _, value in (line.partition(": ") for line in ours.headers)}
        assert (ours.method, ours.url) == (seen.method, seen.url)
        for name in ("content-type", "x-amz-target"):
            assert lines.get(name) == headers.get(name), (operation, name)
        assert json.loads(ours.body or b"{}") == json.loads(seen.body or b"{}")


def test_another_time_is_another_signature():
    made = [
        aws.sign(
            "GET", "https://x.example/", [], b"", service="firehose", region="eu-west-1", access_key="a",
            secret_key="s", now=NOW + second * 1_000_000,
        )
        for second in (0, 1)
    ]  # fmt: skip
    assert made[0] != made[1]


@pytest.mark.parametrize(
    ("config", "url"),
    [
        ({"region": "us-east-1"}, "https://pinpoint.us-east-1.amazonaws.com"),
        ({"region": "cn-north-1"}, "https://pinpoint.cn-north-1.amazonaws.com.cn"),
        ({"region": "us-gov-west-1", "endpoint_url": None}, "https://pinpoint.us-gov-west-1.amazonaws.com"),
        ({"region": "us-east-1", "endpoint_url": "http://127.0.0.1:8090"}, "http://127.0.0.1:8090"),
        ({"region": "us-east-1", "endpoint_url": "https://aws.example/a/b/"}, "https://aws.example/a/b"),
    ],
)
def test_where_a_service_is(config, url):
    assert aws.endpoint("pinpoint", config) == url


def test_regions_as_aws_names_them():
    known = boto3.session.Session().get_available_regions("ec2")
    assert len(known) > 15
    for region in [*known, "us-gov-west-1", "us-isob-east-1", "cn-northwest-1", "eusc-de-east-1"]:
        assert aws.well_formed(region), region
    for region in ("", "US-EAST-1", "us east 1", "us-east-1\n", "us-east", "../x", "a.b-c-1", "us-east-1.evil.example"):
        assert not aws.well_formed(region), region


def response(status: int | None, body: bytes = b"", **changes: Any) -> Response:
    """Return a response."""
    headers = [(name.replace("_", "-"), value) for name, value in changes.pop("headers", {}).items()]
    return Response(status, headers, body, changes.pop("error", None), 1, **changes)


@pytest.mark.parametrize(
    ("headers", "body", "name"),
    [
        ({"x_amzn_errortype": "NotFoundException"}, b"{}", "NotFoundException"),
        ({"x_amzn_errortype": "NotFoundException:http://internal.amazon.com/coral/"}, b"", "NotFoundException"),
        ({}, b'{"__type": "ThrottlingException"}', "ThrottlingException"),
        ({}, b'{"__type": "com.amazonaws.firehose#ThrottlingException:"}', "ThrottlingException"),
        ({}, b'{"code": "AccessDeniedException"}', "AccessDeniedException"),
        ({"x_amzn_errortype": "First"}, b'{"__type": "Second"}', "First"),
        ({}, b'{"__type": 7, "code": null}', None),
        ({}, b'{"__type": "not a name"}', None),
        ({}, b"<html>no</html>", None),
        ({}, b'["__type"]', None),
    ],
)
def test_the_name_of_an_error(headers, body, name):
    assert aws.read_call_result(response(400, body, headers=headers)).error == name


def test_an_answer_with_its_parts():
    told = aws.read_call_result(response(403, b'{"Message": "no", "RequestID": "r"}'))
    assert (told.status, told.message, told.error) == (403, "no", None)
    assert aws.read_call_result(response(200, b'{"a": 1}')).body == {"a": 1}
    silent = aws.read_call_result(response(None, error="connect: refused", sent=False))
    assert silent == CallResult(trouble="connect: refused", sent=False)


@given(
    st.integers(100, 599),
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["__type", "code", "Message", "x"]), inner)
            ),
        ).map(lambda value: json.dumps(value).encode()),
    ),
    st.text(max_size=40),
)
def test_no_answer_is_too_strange_to_be_read(status, body, name):
    told = aws.read_call_result(response(status, body, headers={"x_amzn_errortype": name}))
    assert told.status == status
    assert told.error is None or (told.error.isascii() and len(told.error) <= 100)
    assert told.message is None or len(told.message) <= 500


def test_nested_ten_thousand_deep():
    for body in (b"[" * 100_000, b'{"a":' * 100_000, b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}"):
        assert aws.read_call_result(response(200, body)).body is None


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """A client that may reach loopback."""
    client = Outbound(parse_networks(LOOPBACK))
    yield client
    await client.stop()


async def test_a_call_over_the_wire(outbound):
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head.lower())
        length = int(heads[-1].partition("content-length:")[2].partition("\r")[0] or 0)
        body = await reader.readexactly(length)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    async with listening(serve) as port:
        config = CONFIG | {"endpoint_url": f"http://127.0.0.1:{port}/aws/"}
        told = await aws.call(outbound, aws.DESCRIBE_STREAM, config, NOW, {"DeliveryStreamName": "dlr"})
        await aws.call(outbound, aws.GET_APP, config, NOW, None, "p/1")
    assert told.body == {"DeliveryStreamName": "dlr"}
    assert heads[0].startswith("post /aws/ http/1.1")
    assert "x-amz-target: firehose_20150804.describedeliverystream" in heads[0]
    assert "/us-east-1/firehose/aws4_request" in heads[0]
    assert heads[1].startswith("get /aws/v1/apps/p%2f1 http/1.1")
    assert "content-type" not in heads[1]


async def test_nobody_there(outbound):
    told = await aws.call(outbound, aws.GET_APP, CONFIG | {"endpoint_url": "http://127.0.0.1:1"}, NOW, None, "p")
    assert (told.status, told.sent) == (None, False)
    assert (told.trouble or "").startswith("connect: ")
