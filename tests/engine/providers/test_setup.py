"""The set-up check against moto's Pinpoint and Firehose, and against responses that moto never gives."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.engine.conftest import LOOPBACK, listening
from waypost.clock import now_us
from waypost.domain.providers.connector import Connector, Field
from waypost.domain.providers.setup_checks import Report, Result
from waypost.domain.values.egress_guard import parse_networks
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import Request
from waypost.engine.providers.connectors import shipped
from waypost.engine.providers.setup import CHECKS, check_setup
from waypost.sink.thread_runner import Running, running

# boto3 and moto use deprecated features of Python and of their own libraries.
pytestmark = [
    pytest.mark.filterwarnings("ignore::boto3.exceptions.PythonDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:moto.*"),
]

URL = "https://st.waypost.example/tracking/amazon-pinpoint-events"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/firehose"
PINPOINT = Connector(name="aws-pinpoint", label="Pinpoint", channel="sms", driver="pinpoint", checks=("pinpoint",))
MESSAGING = Connector(
    name="aws-end-user-messaging", label="End User Messaging", channel="sms", checks=("end_user_messaging",)
)


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """A client that may reach loopback."""
    client = Outbound(parse_networks(LOOPBACK))
    yield client
    await client.stop()


async def check(
    outbound: Outbound, endpoint: str, connector: Connector = PINPOINT, url: str = URL, **config: Any
) -> Report:
    """Return the report of a check against this endpoint."""
    given: dict[str, Any] = {
        "region": "us-east-1",
        "project_id": "p1",
        "access_key": "AKIDEXAMPLE",
        "secret_key": "secret-example",
        "endpoint_url": endpoint,
        "configuration_set": "promo",
    } | config
    report = await asyncio.wait_for(check_setup(outbound, connector, given, url, now_us(), pause_s=0.001), 30)
    assert "secret-example" not in repr(report)
    return report


def last(report: Report) -> tuple[str, int | None, str]:
    """Return the result of the last step, the code, and the call."""
    found = report.checks[-1]
    return found.result.value, found.setup_code, found.call


# Against moto.


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Return the URL of a moto server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class ConnectionRecord:
    """An AWS account at moto, in one region."""

    def __init__(self, endpoint: str, region: str = "us-east-1") -> None:
        self.pinpoint, self.firehose = (
            boto3.client(
                service,
                region_name=region,
                endpoint_url=endpoint,
                aws_access_key_id="AKIDEXAMPLE",
                aws_secret_access_key="secret-example",
            )
            for service in ("pinpoint", "firehose")
        )
        self.project = str(
            self.pinpoint.create_app(CreateApplicationRequest={"Name": "p"})["ApplicationResponse"]["Id"]
        )

    def link(self, arn: str) -> None:
        """Link the project to a stream."""
        self.pinpoint.put_event_stream(
            ApplicationId=self.project, WriteEventStream={"DestinationStreamArn": arn, "RoleArn": ROLE}
        )

    def stream(self, name: str, url: str = URL, interval: int = 60) -> str:
        """Create a stream that sends to a URL; return its ARN."""
        return str(
            self.firehose.create_delivery_stream(
                DeliveryStreamName=name,
                HttpEndpointDestinationConfiguration={
                    "EndpointConfiguration": {"Url": url, "AccessKey": "k"},
                    "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": interval},
                    "S3Configuration": {"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::b"},
                },
            )["DeliveryStreamARN"]
        )


@pytest.fixture
def account(moto: str) -> ConnectionRecord:
    """An account with a project without an event stream."""
    return ConnectionRecord(moto)


async def test_all_is_well(outbound, moto, account):
    account.link(account.stream("well"))
    report = await check(outbound, moto, project_id=account.project)
    assert report.result is Result.OK
    assert [step.name for step in report.checks] == ["event_stream", "stream", "status", "destination", "tracker_url"]
    assert report.checks[0].call == "mobiletargeting:GetEventStream"
    assert {step.call for step in report.checks[1:]} == {"firehose:DescribeDeliveryStream"}
    assert (report.account_id, report.stream) == (ACCOUNT, "well")


async def test_a_tracker_on_loopback(outbound, moto, account):
    url = "http://127.0.0.1:8080/tracking/amazon-pinpoint-events"
    account.link(account.stream("loopback", url))
    report = await check(outbound, moto, url=url, project_id=account.project)
    assert report.result is Result.OK


async def test_receipts_that_would_wait(outbound, moto, account):
    account.link(account.stream("slow", interval=300))
    report = await check(outbound, moto, project_id=account.project)
    assert report.result is Result.WARNING
    assert (report.checks[-1].name, report.failure) == ("buffering", None)


async def test_2001_no_such_project(outbound, moto):
    report = await check(outbound, moto, project_id="not-there")
    assert last(report) == ("failed", 2001, "mobiletargeting:GetApp")


async def test_2001_another_region(outbound, moto, account):
    account.link(account.stream("elsewhere"))
    report = await check(outbound, moto, project_id=account.project, region="eu-west-1")
    assert last(report) == ("failed", 2001, "mobiletargeting:GetApp")


async def test_2001_a_stream_in_another_region(outbound, moto, account):
    account.link(f"arn:aws:firehose:eu-west-1:{ACCOUNT}:deliverystream/far")
    report = await check(outbound, moto, project_id=account.project)
    assert last(report) == ("failed", 2001, "mobiletargeting:GetEventStream")


@pytest.mark.parametrize("region", ["", "us east 1", "US-EAST-1", "us-east-1.evil.example", "../../x", "nowhere"])
async def test_2001_no_region_at_all(outbound, region):
    """Without a call: the endpoint is closed."""
    report = await check(outbound, "http://127.0.0.1:1", region=region)
    assert last(report) == ("failed", 2001, "mobiletargeting:GetEventStream")
    assert report.checks[0].name == "region"


async def test_2001_nobody_there(outbound):
    report = await check(outbound, "http://127.0.0.1:1")
    assert last(report) == ("failed", 2001, "mobiletargeting:GetEventStream")
    assert "connect" in (report.checks[-1].detail or "")


async def test_2002_not_linked(outbound, moto, account):
    report = await check(outbound, moto, project_id=account.project)
    assert last(report) == ("failed", 2002, "mobiletargeting:GetEventStream")


async def test_2002_linked_to_a_data_stream(outbound, moto, account):
    account.link(f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/data")
    report = await check(outbound, moto, project_id=account.project)
    assert last(report) == ("failed", 2002, "mobiletargeting:GetEventStream")


async def test_2003_no_such_stream(outbound, moto, account):
    account.link(f"arn:aws:firehose:us-east-1:{ACCOUNT}:deliverystream/gone")
    report = await check(outbound, moto, project_id=account.project)
    assert last(report) == ("failed", 2003, "firehose:DescribeDeliveryStream")
    assert report.checks[-1].error == "ResourceNotFoundException"


async def test_2003_a_stream_of_another_account(outbound, moto, account):
    arn = account.stream("theirs")
    account.link(arn.replace(ACCOUNT, "999999999999"))
    report = await check(outbound, moto, project_id=account.project)
    assert last(report) == ("failed", 2003, "firehose:DescribeDeliveryStream")


async def test_2005_a_stream_into_a_bucket(outbound, moto, account):
    arn = account.firehose.create_delivery_stream(
        DeliveryStreamName="bucket",
        ExtendedS3DestinationConfiguration={"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::b"},
    )["DeliveryStreamARN"]
    account.link(arn)
    report = await check(outbound, moto, project_id=account.project)
    assert last(report) == ("failed", 2005, "firehose:DescribeDeliveryStream")
    assert [step.name for step in report.checks if step.ok] == ["event_stream", "stream", "status"]


async def test_2006_a_stream_to_somewhere_else(outbound, moto, account):
    account.link(account.stream("else", URL + "/"))
    report = await check(outbound, moto, project_id=account.project)
    assert last(report) == ("failed", 2006, "firehose:DescribeDeliveryStream")
    assert URL in (report.checks[-1].detail or "")


async def test_a_service_that_is_out_of_order_is_no_verdict(outbound, moto):
    """moto responds to every call of End User Messaging with 500."""
    report = await check(outbound, moto, MESSAGING)
    assert last(report) == ("unverified", None, "sms-voice:DescribeConfigurationSets")


# Against responses of our own.


Answer = tuple[int, str | None, Any]
ARN = f"arn:aws:firehose:us-east-1:{ACCOUNT}:deliverystream/dlr"
LINKED: Answer = (200, None, {"ApplicationId": "p1", "DestinationStreamArn": ARN, "RoleArn": ROLE})
DENIED: Answer = (400, "AccessDeniedException", {"message": "not yours"})
BROKEN: Answer = (500, "InternalServerErrorException", {"Message": "x"})
THROTTLED: Answer = (429, "TooManyRequestsException", {"Message": "x"})


def described(status: str = "ACTIVE", url: str = URL) -> Answer:
    """Return a description of the stream."""
    return (
        200,
        None,
        {
            "DeliveryStreamDescription": {
                "DeliveryStreamName": "dlr",
                "DeliveryStreamARN": ARN,
                "DeliveryStreamStatus": status,
                "Destinations": [{"HttpEndpointDestinationDescription": {"EndpointConfiguration": {"Url": url}}}],
            }
        },
    )


class Aws:
    """Responds to each call by its name; repeats the last response of a call."""

    def __init__(self, **answers: Answer | list[Answer]) -> None:
        self.answers = {name: value if isinstance(value, list) else [value] for name, value in answers.items()}
        self.calls: list[tuple[str, dict[str, Any]]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *lines = head.split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
            body = await reader.readexactly(int(headers.get("content-length") or 0))
            target = headers.get("x-amz-target", "").rpartition(".")[2]
            name = target or {"eventstream": "GetEventStream"}.get(line.split()[1].rpartition("/")[2], "GetApp")
            self.calls.append((name, json.loads(body or b"{}")))
            answers = self.answers[name]
            status, error, told = answers.pop(0) if len(answers) > 1 else answers[0]
            data = told if isinstance(told, bytes) else json.dumps(told).encode()
            extra = f"x-amzn-ErrorType: {error}:http://internal/\r\n" if error else ""
            writer.write(f"HTTP/1.1 {status} X\r\n{extra}content-length: {len(data)}\r\n\r\n".encode() + data)

    @property
    def names(self) -> list[str]:
        """Return the received calls."""
        return [name for name, _ in self.calls]


async def ask(outbound: Outbound, aws: Aws, connector: Connector = PINPOINT, **config: Any) -> Report:
    """Return the report for these responses of AWS."""
    async with listening(aws.serve) as port:
        return await check(outbound, f"http://127.0.0.1:{port}", connector, **config)


@pytest.mark.parametrize("status", ["CREATING", "CREATING_FAILED", "DELETING", "DELETING_FAILED"])
async def test_2004_a_stream_that_is_not_active(outbound, status):
    report = await ask(outbound, Aws(GetEventStream=LINKED, DescribeDeliveryStream=described(status)))
    assert last(report) == ("failed", 2004, "firehose:DescribeDeliveryStream")
    assert status in (report.checks[-1].detail or "")


@pytest.mark.parametrize(
    "answer",
    [
        (403, "ForbiddenException", {"Message": "x"}),
        (403, "UnrecognizedClientException", {"message": "x"}),
        (403, None, {"message": "Missing Authentication Token"}),
        (400, "InvalidSignatureException", {"message": "x"}),
    ],
)
async def test_2001_keys_that_aws_refuses(outbound, answer):
    aws = Aws(GetEventStream=answer)
    report = await ask(outbound, aws)
    assert last(report) == ("failed", 2001, "mobiletargeting:GetEventStream")
    assert aws.names == ["GetEventStream"]
    assert report.checks[-1].error == answer[1]


@pytest.mark.parametrize(
    ("app", "ended"),
    [
        ((403, "AccessDeniedException", {}), ("failed", 2002, "mobiletargeting:GetEventStream")),
        ((200, None, {"Id": "p1"}), ("failed", 2002, "mobiletargeting:GetEventStream")),
        ((404, "NotFoundException", {}), ("failed", 2001, "mobiletargeting:GetApp")),
        (BROKEN, ("unverified", None, "mobiletargeting:GetApp")),
    ],
)
async def test_nothing_there(outbound, app, ended):
    missing = (404, "NotFoundException", {"Message": "Application or resource not found"})
    report = await ask(outbound, Aws(GetEventStream=missing, GetApp=app))
    assert last(report) == ended


@pytest.mark.parametrize("trouble", [BROKEN, THROTTLED, (503, None, b"<html>busy</html>")])
async def test_trouble_that_passes_is_waited_for(outbound, trouble):
    aws = Aws(GetEventStream=[trouble, trouble, LINKED], DescribeDeliveryStream=[trouble, described()])
    report = await ask(outbound, aws)
    assert report.result is Result.OK
    assert aws.names == ["GetEventStream"] * 3 + ["DescribeDeliveryStream"] * 2


@pytest.mark.parametrize("trouble", [BROKEN, THROTTLED, (400, "ThrottlingException", {})])
async def test_trouble_that_stays_is_no_verdict(outbound, trouble):
    for aws, call in (
        (Aws(GetEventStream=trouble), "mobiletargeting:GetEventStream"),
        (Aws(GetEventStream=LINKED, DescribeDeliveryStream=trouble), "firehose:DescribeDeliveryStream"),
    ):
        report = await ask(outbound, aws)
        assert last(report) == ("unverified", None, call)
        assert report.failure is None
        assert len(aws.calls) in (3, 4)


async def test_a_connection_that_is_dropped_is_no_verdict(outbound):
    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with listening(serve) as port:
        report = await check(outbound, f"http://127.0.0.1:{port}")
    assert last(report) == ("unverified", None, "mobiletargeting:GetEventStream")


async def test_an_address_that_may_not_be_reached_is_no_verdict():
    client = Outbound(parse_networks(""))
    try:
        report = await check(client, "http://127.0.0.1:1")
    finally:
        await client.stop()
    assert last(report) == ("unverified", None, "mobiletargeting:GetEventStream")
    assert "address_forbidden" in (report.checks[-1].detail or "")


async def test_a_stream_that_may_not_be_described_is_looked_for_in_the_list(outbound):
    page = [f"s{number}" for number in range(3)]
    for names, ended in (
        (["other"], ("failed", 2003, "firehose:ListDeliveryStreams")),
        (["dlr"], ("failed", None, "firehose:DescribeDeliveryStream")),
    ):
        aws = Aws(
            GetEventStream=LINKED,
            DescribeDeliveryStream=DENIED,
            ListDeliveryStreams=[
                (200, None, {"DeliveryStreamNames": page, "HasMoreDeliveryStreams": True}),
                (200, None, {"DeliveryStreamNames": names, "HasMoreDeliveryStreams": False}),
            ],
        )
        report = await ask(outbound, aws)
        assert last(report) == ended
        assert [asked for name, asked in aws.calls if name == "ListDeliveryStreams"] == [
            {"Limit": 1000},
            {"Limit": 1000, "ExclusiveStartDeliveryStreamName": "s2"},
        ]


async def test_a_list_without_an_end_is_left(outbound):
    endless = (200, None, {"DeliveryStreamNames": ["same"], "HasMoreDeliveryStreams": True})
    aws = Aws(GetEventStream=LINKED, DescribeDeliveryStream=DENIED, ListDeliveryStreams=endless)
    report = await ask(outbound, aws)
    assert last(report) == ("failed", None, "firehose:DescribeDeliveryStream")
    assert len(aws.calls) < 30


async def test_neither_described_nor_listed(outbound):
    aws = Aws(GetEventStream=LINKED, DescribeDeliveryStream=DENIED, ListDeliveryStreams=DENIED)
    report = await ask(outbound, aws)
    assert last(report) == ("failed", None, "firehose:DescribeDeliveryStream")
    assert report.checks[-1].error == "AccessDeniedException"
    assert "firehose:ListDeliveryStreams" in " ".join(report.checks[-1].resolution)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[" * 50_000, b'{"x": "' + b"a" * 400_000 + b'"}', b"\xff"])
async def test_answers_that_make_no_sense_are_no_verdict(outbound, body):
    report = await ask(outbound, Aws(GetEventStream=(200, None, body)))
    assert last(report) == ("unverified", None, "mobiletargeting:GetEventStream")
    report = await ask(outbound, Aws(GetEventStream=LINKED, DescribeDeliveryStream=(200, None, body)))
    assert last(report) == ("unverified", None, "firehose:DescribeDeliveryStream")


def configuration_set(*arns: str, types: list[str] | None = None) -> Answer:
    """Return a configuration set with a destination for each stream."""
    destinations = [
        {
            "EventDestinationName": f"d{number}",
            "Enabled": True,
            "MatchingEventTypes": types or ["TEXT_ALL"],
            "KinesisFirehoseDestination": {"IamRoleArn": ROLE, "DeliveryStreamArn": arn},
        }
        for number, arn in enumerate(arns)
    ]
    return 200, None, {"ConfigurationSets": [{"ConfigurationSetName": "promo", "EventDestinations": destinations}]}


async def test_end_user_messaging_all_is_well(outbound):
    aws = Aws(DescribeConfigurationSets=configuration_set(ARN), DescribeDeliveryStream=described())
    report = await ask(outbound, aws, MESSAGING)
    assert report.result is Result.OK
    assert report.checks[0].call == "sms-voice:DescribeConfigurationSets"
    assert aws.calls[0][1] == {"ConfigurationSetNames": ["promo"]}
    assert (report.account_id, report.stream) == (ACCOUNT, "dlr")


@pytest.mark.parametrize(
    ("sets", "stream", "code", "call"),
    [
        (DENIED, None, 2001, "sms-voice:DescribeConfigurationSets"),
        ((400, "ResourceNotFoundException", {}), None, 2002, "sms-voice:DescribeConfigurationSets"),
        (configuration_set(), None, 2002, "sms-voice:DescribeConfigurationSets"),
        (configuration_set(ARN, types=["VOICE_ALL"]), None, 2002, "sms-voice:DescribeConfigurationSets"),
        (
            configuration_set(ARN),
            (400, "ResourceNotFoundException", {}),
            2003,
            "firehose:DescribeDeliveryStream",
        ),
        (configuration_set(ARN), described("CREATING"), 2004, "firehose:DescribeDeliveryStream"),
        (configuration_set(ARN), described(url="https://else.example/"), 2006, "firehose:DescribeDeliveryStream"),
    ],
)
async def test_end_user_messaging_and_what_may_be_wrong(outbound, sets, stream, code, call):
    aws = Aws(DescribeConfigurationSets=sets, DescribeDeliveryStream=stream or BROKEN)
    report = await ask(outbound, aws, MESSAGING)
    assert last(report) == ("failed", code, call)
    assert "Pinpoint" not in (report.checks[-1].meaning or "")


async def test_end_user_messaging_without_a_configuration_set(outbound):
    report = await check(outbound, "http://127.0.0.1:1", MESSAGING, configuration_set=None)
    assert last(report) == ("failed", 2002, "sms-voice:DescribeConfigurationSets")


async def test_one_destination_that_comes_here_is_enough(outbound):
    other = ARN.replace("/dlr", "/other")
    aws = Aws(
        DescribeConfigurationSets=configuration_set(other, ARN),
        DescribeDeliveryStream=[described(url="https://else.example/"), described()],
    )
    report = await ask(outbound, aws, MESSAGING)
    assert report.result is Result.OK
    assert report.stream == "dlr"
    aws = Aws(
        DescribeConfigurationSets=configuration_set(other, ARN),
        DescribeDeliveryStream=[described("DELETING"), described(url="https://else.example/")],
    )
    report = await ask(outbound, aws, MESSAGING)
    assert last(report)[1] == 2004
    assert report.stream == "other"


# Against the sink, with the built-in connectors.


@pytest.fixture(scope="module")
def sink() -> Iterator[Running]:
    """A sink whose streams send to the tracker, and that knows one key and its secret."""
    account = {"tracker_url": URL, "credentials": {"AKIDEXAMPLE": "secret-example", "AKIADENIED1": "secret-example"}}
    with running(settings={"aws": account}) as started:
        yield started


@pytest.mark.parametrize(
    ("project", "config", "ended"),
    [
        ("0f1e2d", {}, ("ok", None, "firehose:DescribeDeliveryStream")),
        ("missing", {}, ("failed", 2001, "mobiletargeting:GetApp")),
        ("elsewhere", {}, ("failed", 2001, "mobiletargeting:GetEventStream")),
        ("denied", {}, ("failed", 2001, "mobiletargeting:GetEventStream")),
        ("0f1e2d", {"access_key": "AKIAOTHER"}, ("failed", 2001, "mobiletargeting:GetEventStream")),
        ("0f1e2d", {"secret_key": "secret-examplE"}, ("failed", 2001, "mobiletargeting:GetEventStream")),
        ("0f1e2d", {"access_key": "AKIADENIED1"}, ("failed", 2001, "mobiletargeting:GetEventStream")),
        ("unlinked", {}, ("failed", 2002, "mobiletargeting:GetEventStream")),
        ("kinesis", {}, ("failed", 2002, "mobiletargeting:GetEventStream")),
        ("streamless", {}, ("failed", 2003, "firehose:DescribeDeliveryStream")),
        ("creating", {}, ("failed", 2004, "firehose:DescribeDeliveryStream")),
        ("s3only", {}, ("failed", 2005, "firehose:DescribeDeliveryStream")),
        ("othertracker", {}, ("failed", 2006, "firehose:DescribeDeliveryStream")),
        ("busy", {}, ("unverified", None, "mobiletargeting:GetEventStream")),
        ("broken", {}, ("unverified", None, "mobiletargeting:GetEventStream")),
    ],
)
async def test_pinpoint_as_the_sink_plays_it(outbound, sink, project, config, ended):
    report = await check(outbound, sink.url, shipped()["aws-pinpoint"], project_id=project, **config)
    assert last(report) == ended


@pytest.mark.parametrize(
    ("name", "ended"),
    [
        ("promo", ("ok", None, "firehose:DescribeDeliveryStream")),
        ("missing", ("failed", 2002, "sms-voice:DescribeConfigurationSets")),
        ("elsewhere", ("failed", 2001, "sms-voice:DescribeConfigurationSets")),
        ("denied", ("failed", 2001, "sms-voice:DescribeConfigurationSets")),
        ("unlinked", ("failed", 2002, "sms-voice:DescribeConfigurationSets")),
        ("disabled", ("failed", 2002, "sms-voice:DescribeConfigurationSets")),
        ("voice", ("failed", 2002, "sms-voice:DescribeConfigurationSets")),
        ("sns", ("failed", 2002, "sms-voice:DescribeConfigurationSets")),
        ("streamless", ("failed", 2003, "firehose:DescribeDeliveryStream")),
        ("creating", ("failed", 2004, "firehose:DescribeDeliveryStream")),
        ("s3only", ("failed", 2005, "firehose:DescribeDeliveryStream")),
        ("othertracker", ("failed", 2006, "firehose:DescribeDeliveryStream")),
        ("busy", ("unverified", None, "sms-voice:DescribeConfigurationSets")),
    ],
)
async def test_end_user_messaging_as_the_sink_plays_it(outbound, sink, name, ended):
    connector = shipped()["aws-end-user-messaging"]
    report = await check(outbound, sink.url, connector, configuration_set=name)
    assert last(report) == ended


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("sendgrid", {"api_key": "SG.example"}),
        ("twilio", {"account_sid": "AC00000000000000000000000000000001", "auth_token": "token-example"}),
        (
            "twilio",
            {
                "account_sid": "AC00000000000000000000000000000001",
                "api_key": "SK00000000000000000000000000000001",
                "api_secret": "token-example",
            },
        ),
    ],
)
async def test_others_as_the_sink_plays_them(outbound, sink, name, config):
    given = config | {"host": f"{sink.url}/{name}"}
    report = await check_setup(outbound, shipped()[name], given, URL, now_us(), pause_s=0.001)
    assert report.result is Result.OK, report


def test_every_check_that_a_connector_names_is_known():
    named = {name for connector in shipped().values() for name in connector.checks}
    assert named >= {"pinpoint", "end_user_messaging"}
    assert named <= CHECKS


# Other providers.


async def web(outbound: Outbound, connector: Connector, answer: Answer, **config: Any) -> tuple[Report, list[str]]:
    """Return the report of a check of another provider, and the heads of its requests."""
    heads: list[str] = []
    status, _, told = answer
    data = told if isinstance(told, bytes) else json.dumps(told).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + data)

    async with listening(serve) as port:
        report = await check_setup(
            outbound, connector, {"host": f"http://127.0.0.1:{port}/sub/"} | config, URL, now_us(), pause_s=0.001
        )
    return report, heads


HOST = (Field(name="host", label="Host"),)
SENDGRID = Connector(
    name="sendgrid", label="SendGrid", channel="email", fields=HOST, base_url_field="host", checks=("sendgrid",)
)
TWILIO = Connector(name="twilio", label="Twilio", channel="sms", fields=HOST, base_url_field="host", checks=("twilio",))


@pytest.mark.parametrize(
    ("answer", "result", "name"),
    [
        ((200, None, {"scopes": ["mail.send", "user.read"]}), Result.OK, "mail_send"),
        ((200, None, {"scopes": ["user.read"]}), Result.FAILED, "mail_send"),
        ((401, None, {"errors": [{"message": "authorization required"}]}), Result.FAILED, "key"),
        ((403, None, {"errors": [{"message": "access forbidden"}]}), Result.FAILED, "key"),
        ((500, None, b""), Result.UNVERIFIED, "key"),
        ((429, None, b""), Result.UNVERIFIED, "key"),
        ((200, None, b"<html>"), Result.UNVERIFIED, "key"),
        ((200, None, {"scopes": "mail.send"}), Result.UNVERIFIED, "key"),
    ],
)
async def test_the_key_of_sendgrid(outbound, answer, result, name):
    report, heads = await web(outbound, SENDGRID, answer, api_key="SG.example")
    assert (report.result, report.checks[-1].name) == (result, name)
    assert report.checks[-1].setup_code is None
    assert heads[0].startswith("GET /sub/v3/scopes HTTP/1.1")
    assert "Authorization: Bearer SG.example" in heads[0]
    assert "SG.example" not in repr(report)


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ((200, None, {"messages": []}), Result.OK),
        ((401, None, {"code": 20003}), Result.FAILED),
        ((403, None, {"code": 20403}), Result.UNVERIFIED),
        ((500, None, b""), Result.UNVERIFIED),
    ],
)
async def test_a_key_of_twilio(outbound, answer, result):
    """API keys cannot read the account."""
    report, heads = await web(
        outbound, TWILIO, answer, account_sid="AC1", auth_token="token", api_key="SK1", api_secret="hunter2"
    )
    assert report.result is result
    assert heads[0].startswith("GET /sub/2010-04-01/Accounts/AC1/Messages.json?PageSize=1 HTTP/1.1")
    assert "Authorization: Basic U0sxOmh1bnRlcjI=" in heads[0]


@pytest.mark.parametrize(
    ("answer", "result", "name"),
    [
        ((200, None, {"sid": "AC1", "status": "active"}), Result.OK, "status"),
        ((200, None, {"sid": "AC1", "status": "suspended"}), Result.FAILED, "status"),
        ((401, None, {"code": 20003, "message": "Authenticate"}), Result.FAILED, "account"),
        ((404, None, {"code": 20404}), Result.FAILED, "account"),
        ((503, None, b""), Result.UNVERIFIED, "account"),
        ((200, None, b"[]"), Result.UNVERIFIED, "account"),
    ],
)
async def test_the_account_of_twilio(outbound, answer, result, name):
    report, heads = await web(outbound, TWILIO, answer, account_sid="AC/1", auth_token="token-example")
    assert (report.result, report.checks[-1].name) == (result, name)
    assert heads[0].startswith("GET /sub/2010-04-01/Accounts/AC%2F1.json HTTP/1.1")
    assert "Authorization: Basic QUMvMTp0b2tlbi1leGFtcGxl" in heads[0]
    assert "token-example" not in repr(report)


async def test_a_check_that_nobody_knows_is_no_verdict(outbound):
    connector = Connector(name="later", label="Later", channel="sms", checks=("of_a_later_version",))
    report = await check_setup(outbound, connector, {}, URL, now_us())
    assert report.result is Result.UNVERIFIED
    assert "of_a_later_version" in (report.checks[0].detail or "")


async def test_no_checks_are_no_trouble(outbound):
    report = await check_setup(outbound, Connector(name="plain", label="Plain", channel="sms"), {}, URL, now_us())
    assert (report.result, report.checks) == (Result.OK, ())


async def test_a_sink_that_was_told_nothing_leads_where_the_check_wants_it(outbound):
    with running() as untold:
        report = await check(outbound, untold.url, shipped()["aws-pinpoint"])
        assert report.result is Result.OK
        # Once the sink has a tracker URL, it returns that.
        put = Request(f"{untold.url}/aws", b'{"tracker_url": "https://other.example/t"}', [], 5000, method="PUT")
        assert (await outbound.fetch(put))[0].status == 200
        report = await check(outbound, untold.url, shipped()["aws-pinpoint"])
    assert report.failure is not None
    assert report.failure.setup_code == 2006
