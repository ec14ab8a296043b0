"""AWS as unmodified boto3 clients see it: every call, every error, every incorrect set-up."""

import contextlib
import functools
import http.client
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from waypost.sink.aws.account import CONFIGURATION_SETS, PROJECTS
from waypost.sink.scenarios import SPECIAL
from waypost.sink.thread_runner import Running, running

# botocore's own deprecation warnings do not concern these tests.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:boto3"),
]

KEY, SECRET = "AKIAEXAMPLE", "made/up+secret"
TRACKER = "https://tracker.example/tracking/amazon-pinpoint-events"
#: Without waits: nothing here takes time unless configured.
QUICK = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5)


@pytest.fixture(scope="module")
def shared():
    with running() as sink:
        yield sink


@pytest.fixture
def sink(shared):
    tell(shared, "DELETE", "/aws")
    for name in ("pinpoint", "end-user-messaging"):
        tell(shared, "DELETE", f"/fate/{name}")
    tell(shared, "DELETE", "/sent")
    tell(shared, "DELETE", "/received")
    tell(shared, "DELETE", "/firehose")
    return shared


def tell(sink: Running, method: str, path: str, given: Any = None) -> Any:
    status, told = ask(sink, method, path, given)
    assert status == 200, told
    return told


def ask(sink: Running, method: str, path: str, given: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", sink.port, timeout=10)
    try:
        connection.request(method, path, None if given is None else json.dumps(given))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def client(
    sink: Running, service: str, region: str = "us-east-1", key: str = KEY, secret: str = SECRET, config: Config = QUICK
) -> Any:
    return made_client(sink.url, service, region, key, secret, config)


@functools.cache
def made_client(url: str, service: str, region: str, key: str, secret: str, config: Config) -> Any:
    """Return a client; creating one takes botocore a tenth of a second."""
    return boto3.session.Session().client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=config,
    )


def message(addresses: dict[str, dict[str, Any]], **sms: Any) -> dict[str, Any]:
    return {
        "Addresses": {address: {"ChannelType": "SMS", **more} for address, more in addresses.items()},
        "MessageConfiguration": {"SMSMessage": {"Body": "hello", "MessageType": "TRANSACTIONAL", **sms}},
    }


def refusal(call: Callable[..., Any], /, **arguments: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response: dict[str, Any] = dict(caught.value.response)
    return response


def code_of(response: dict[str, Any]) -> tuple[str, int]:
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def number(word: str, place: str = "+1202") -> str:
    """Return the phone number with this fixed scenario."""
    return f"{place}55500{next(digits for digits, scenario in SPECIAL.items() if scenario == word)}"


def send(sink: Running, *numbers: str, project: str = "p1", **sms: Any) -> dict[str, Any]:
    answer = client(sink, "pinpoint").send_messages(
        ApplicationId=project, MessageRequest=message({one: {} for one in numbers}, **sms)
    )
    result: dict[str, Any] = answer["MessageResponse"]["Result"]
    return result


# SendMessages.


def test_messages_are_taken_and_listed_with_what_was_sent_along(sink):
    given = message(
        {
            "+12025550101": {"Context": {"mid": "m-1"}, "BodyOverride": 'just "you"\n'},
            "+12025550102": {"Substitutions": {"name": ["Tariq"]}},
        },
        Body="Hi {{name}} from {{ shop }} {{other}}",
        Substitutions={"name": ["friend"], "shop": ["Mug & Co"]},
    )
    given["Context"] = {"mid": "m-all", "campaign": "c"}
    answer = client(sink, "pinpoint").send_messages(ApplicationId="p1", MessageRequest=given)["MessageResponse"]
    assert answer["ApplicationId"] == "p1"
    assert re.fullmatch(r"[0-9a-f-]{36}", answer["RequestId"])
    results = answer["Result"]
    assert {result["DeliveryStatus"] for result in results.values()} == {"SUCCESSFUL"}
    assert {result["StatusCode"] for result in results.values()} == {200}
    assert len({result["MessageId"] for result in results.values()}) == 2
    first, second = tell(sink, "GET", "/sent?provider=pinpoint")["data"]
    assert (first["address"], first["mid"], first["body"]) == ("+12025550101", "m-1", 'just "you"\n')
    assert (second["mid"], second["body"]) == ("m-all", "Hi Tariq from Mug & Co {{other}}")
    assert first["message_id"] == results["+12025550101"]["MessageId"]
    assert tell(sink, "GET", "/sent/count?provider=pinpoint") == {
        "messages": 2,
        "distinct": 2,
        "addresses": 2,
        "repeated": 0,
    }
    (call,) = tell(sink, "GET", "/received?name=pinpoint")["data"]
    assert call["path"] == "/v1/apps/p1/messages"
    assert json.loads(call["body"]) == given


def test_a_message_that_comes_twice_is_seen(sink):
    for _ in range(2):
        client(sink, "pinpoint").send_messages(
            ApplicationId="p1", MessageRequest=message({"+12025550101": {"Context": {"mid": "m-1"}}})
        )
    send(sink, "+12025550102")
    count = tell(sink, "GET", "/sent/count?provider=pinpoint")
    assert (count["messages"], count["distinct"], count["repeated"]) == (3, 1, 1)
    entries = tell(sink, "GET", "/sent?mid=m-1")["data"]
    assert [entry["count"] for entry in entries] == [2, 2]
    assert len(tell(sink, "GET", "/sent?address=%2B12025550102")["data"]) == 1
    page = tell(sink, "GET", "/sent?limit=2")
    rest = tell(sink, "GET", f"/sent?after={page['next']}")
    assert (len(page["data"]), len(rest["data"]), rest["next"]) == (2, 1, None)
    tell(sink, "DELETE", "/sent?provider=pinpoint")
    assert tell(sink, "GET", "/sent/count")["messages"] == 0


@pytest.mark.parametrize(
    ("word", "status", "told"),
    [
        ("invalid", 200, "SUCCESSFUL"),
        ("malformed", 400, "PERMANENT_FAILURE"),
        ("rejected", 400, "PERMANENT_FAILURE"),
        ("opted_out", 400, "OPT_OUT"),
        ("throttled", 429, "THROTTLED"),
        ("temporary", 503, "TEMPORARY_FAILURE"),
        ("unknown_failure", 500, "UNKNOWN_FAILURE"),
        ("duplicate", 400, "DUPLICATE"),
    ],
)
@pytest.mark.parametrize("place", ["+1202", "+4420", "+91981"])
def test_an_address_can_have_a_fixed_answer(sink, word, status, told, place):
    address = number(word, place)
    results = send(sink, "+12025550101", address)
    assert (results[address]["DeliveryStatus"], results[address]["StatusCode"]) == (told, status)
    assert ("MessageId" in results[address]) == (told == "SUCCESSFUL")
    assert results["+12025550101"]["DeliveryStatus"] == "SUCCESSFUL"
    assert tell(sink, "GET", "/sent/count")["messages"] == (2 if told == "SUCCESSFUL" else 1)


def test_some_troubles_go_away(sink):
    for word, told in (("throttled_once", "THROTTLED"), ("temporary_once", "TEMPORARY_FAILURE")):
        answers = [send(sink, number(word))[number(word)]["DeliveryStatus"] for _ in range(3)]
        assert answers == [told, "SUCCESSFUL", "SUCCESSFUL"]


def test_what_is_no_number_or_no_text_message_fails_alone(sink):
    given = message({"+12025550101": {}, "12": {}, 'x"y': {}, "+0123456789": {}})
    given["Addresses"]["+12025550102"] = {"ChannelType": "EMAIL"}
    answer = client(sink, "pinpoint").send_messages(ApplicationId="p1", MessageRequest=given)
    told = {address: result["DeliveryStatus"] for address, result in answer["MessageResponse"]["Result"].items()}
    assert told.pop("+12025550101") == "SUCCESSFUL"
    assert told == dict.fromkeys(["12", 'x"y', "+0123456789", "+12025550102"], "PERMANENT_FAILURE")


def test_a_hundred_addresses_are_taken_and_one_more_is_not(sink):
    many: dict[str, dict[str, Any]] = {f"+1202555{n:04d}": {} for n in range(1000, 1100)}
    sender = client(sink, "pinpoint")
    assert (
        len(sender.send_messages(ApplicationId="p1", MessageRequest=message(many))["MessageResponse"]["Result"]) == 100
    )
    many["+12025559999"] = {}
    response = refusal(sender.send_messages, ApplicationId="p1", MessageRequest=message(many))
    assert code_of(response) == ("BadRequestException", 400)
    assert "100" in response["Error"]["Message"]
    assert response["RequestID"] == response["ResponseMetadata"]["RequestId"]
    assert tell(sink, "GET", "/sent/count")["messages"] == 100


@pytest.mark.parametrize(
    "given",
    [
        {"MessageConfiguration": {"SMSMessage": {"Body": "x"}}},
        {"Addresses": {"+12025550101": {"ChannelType": "SMS"}}, "MessageConfiguration": {}},
        {"Addresses": {"+12025550101": {"ChannelType": "SMS"}}, "MessageConfiguration": {"SMSMessage": {}}},
        {"Endpoints": {"e": {}}, "MessageConfiguration": {"SMSMessage": {"Body": "x"}}},
        {
            "Addresses": {"+12025550101": {"ChannelType": "SMS"}},
            "MessageConfiguration": {"SMSMessage": {"Body": "x", "MessageType": "SPAM"}},
        },
    ],
)
def test_a_bad_request_is_refused_as_a_whole(sink, given):
    response = refusal(client(sink, "pinpoint").send_messages, ApplicationId="p1", MessageRequest=given)
    assert code_of(response) == ("BadRequestException", 400)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "BadRequestException"),
        (403, "ForbiddenException"),
        (404, "NotFoundException"),
        (405, "MethodNotAllowedException"),
        (413, "PayloadTooLargeException"),
        (429, "TooManyRequestsException"),
        (500, "InternalServerErrorException"),
        (503, "InternalServerErrorException"),
    ],
)
def test_whole_calls_can_fail(sink, status, name):
    tell(sink, "PUT", "/fate/pinpoint", {"error_rate": 1, "error_status": status})
    sender = client(sink, "pinpoint")
    response = refusal(sender.send_messages, ApplicationId="p1", MessageRequest=message({"+12025550101": {}}))
    assert code_of(response) == (name, status)
    assert status == 503 or hasattr(sender.exceptions, name)
    assert tell(sink, "GET", "/sent/count")["messages"] == 0


def test_refusals_take_their_time_too(sink):
    tell(sink, "PUT", "/fate/pinpoint", {"latency": 0.1, "error_rate": 1})
    tell(sink, "PUT", "/fate/end-user-messaging", {"latency": 0.1})
    for call in (lambda: send(sink, "+12025550101"), lambda: text(sink, number("throttled")), lambda: text(sink)):
        start = time.monotonic()
        with contextlib.suppress(ClientError):
            call()
        assert time.monotonic() - start >= 0.09


def test_one_address_can_make_the_whole_call_fail(sink):
    for word in ("error", "error_once"):
        response = refusal(
            client(sink, "pinpoint").send_messages,
            ApplicationId="p1",
            MessageRequest=message({"+12025550101": {}, number(word): {}}),
        )
        assert code_of(response) == ("InternalServerErrorException", 500)
    assert tell(sink, "GET", "/sent/count")["messages"] == 0
    assert send(sink, number("error_once"))[number("error_once")]["DeliveryStatus"] == "SUCCESSFUL"


def test_an_answer_can_be_lost_after_the_messages_were_taken(sink):
    with pytest.raises(ConnectionClosedError):
        send(sink, "+12025550101", number("lost_answer"))
    assert tell(sink, "GET", "/sent/count")["messages"] == 2
    tell(sink, "PUT", "/fate/pinpoint", {"lost_answer_rate": 1})
    with pytest.raises(ConnectionClosedError):
        send(sink, "+12025550103")
    assert tell(sink, "GET", "/sent/count")["messages"] == 3
    patient = client(sink, "pinpoint", config=QUICK.merge(Config(read_timeout=0.3)))
    tell(sink, "DELETE", "/fate/pinpoint")
    with pytest.raises(ReadTimeoutError):
        patient.send_messages(ApplicationId="p1", MessageRequest=message({number("no_answer"): {}}))
    assert tell(sink, "GET", "/sent/count")["messages"] == 4


# Permissions.


@pytest.mark.parametrize("service", ["pinpoint", "firehose", "pinpoint-sms-voice-v2"])
def test_signatures_are_checked_when_secrets_are_known(sink, service):
    tell(sink, "PUT", "/aws", {"credentials": {KEY: SECRET}})

    def call(**changes: Any) -> Any:
        caller = client(sink, service, **changes)
        match service:
            case "pinpoint":
                # A name that must be encoded is signed in its encoded form.
                return caller.get_event_stream(ApplicationId="p 1/é")
            case "firehose":
                return caller.list_delivery_streams()
        return caller.describe_configuration_sets(ConfigurationSetNames=["x"])

    rest = service == "pinpoint"
    assert call()["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert code_of(refusal(call, secret="wrong")) == ("InvalidSignatureException", 403 if rest else 400)
    assert code_of(refusal(call, key="AKIANOBODY")) == ("UnrecognizedClientException", 403 if rest else 400)
    tell(sink, "DELETE", "/aws")
    assert call(secret="wrong")["ResponseMetadata"]["HTTPStatusCode"] == 200
    denied = ("ForbiddenException", 403) if rest else ("AccessDeniedException", 400)
    assert code_of(refusal(call, key="AKIADENIED7")) == denied


def test_messages_are_signed_over_their_body(sink):
    tell(sink, "PUT", "/aws", {"credentials": {KEY: SECRET}})
    assert send(sink, "+12025550101")["+12025550101"]["DeliveryStatus"] == "SUCCESSFUL"


def test_a_call_without_a_signature_or_for_another_service_is_refused(sink):
    status, told = ask(sink, "POST", "/v1/apps/p1/messages", {})
    assert (status, told) == (403, {"message": "Missing Authentication Token"})
    headers = client(sink, "firehose").list_delivery_streams()["ResponseMetadata"]["HTTPHeaders"]
    assert "x-amzn-requestid" in headers
    (call,) = tell(sink, "GET", "/received?name=firehose")["data"]
    connection = http.client.HTTPConnection("127.0.0.1", sink.port, timeout=10)
    connection.request("GET", "/v1/apps/p1", headers={"Authorization": call["headers"]["authorization"]})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("x-amzn-errortype")) == (403, "InvalidSignatureException")
    connection.close()


def test_single_actions_can_be_denied(sink):
    tell(sink, "PUT", "/aws", {"denied": ["firehose:Describe*", "mobiletargeting:GetApp"]})
    firehose, pinpoint = client(sink, "firehose"), client(sink, "pinpoint")
    response = refusal(firehose.describe_delivery_stream, DeliveryStreamName="receipts")
    assert code_of(response) == ("AccessDeniedException", 400)
    assert "receipts" in firehose.list_delivery_streams()["DeliveryStreamNames"]
    assert code_of(refusal(pinpoint.get_app, ApplicationId="p1")) == ("ForbiddenException", 403)
    assert pinpoint.get_event_stream(ApplicationId="p1")["EventStream"]["ApplicationId"] == "p1"


# The calls of a set-up check.


def test_a_project_is_linked_unless_it_is_said_to_be_otherwise(sink):
    tell(sink, "PUT", "/aws", {"tracker_url": TRACKER, "access_key": "secret"})
    pinpoint, firehose = client(sink, "pinpoint", "ap-south-1"), client(sink, "firehose", "ap-south-1")
    assert pinpoint.get_app(ApplicationId="p1")["ApplicationResponse"]["Id"] == "p1"
    stream = pinpoint.get_event_stream(ApplicationId="p1")["EventStream"]
    assert stream["DestinationStreamArn"] == "arn:aws:firehose:ap-south-1:111122223333:deliverystream/receipts"
    told = firehose.describe_delivery_stream(DeliveryStreamName="receipts")["DeliveryStreamDescription"]
    assert (told["DeliveryStreamStatus"], told["DeliveryStreamARN"]) == ("ACTIVE", stream["DestinationStreamArn"])
    (destination,) = told["Destinations"]
    endpoint = destination["HttpEndpointDestinationDescription"]
    assert endpoint["EndpointConfiguration"] == {"Url": TRACKER, "Name": "Waypost"}
    assert "secret" not in json.dumps(told, default=str)
    assert "secret" not in json.dumps(tell(sink, "GET", "/aws"))


def verdict(sink: Running, project: str) -> int:
    """Return the set-up code of a project, found as the documentation of Pinpoint's receipts describes."""
    pinpoint, firehose = client(sink, "pinpoint"), client(sink, "firehose")
    try:
        arn = pinpoint.get_event_stream(ApplicationId=project)["EventStream"]["DestinationStreamArn"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NotFoundException":
            return 2001
        try:
            pinpoint.get_app(ApplicationId=project)
        except ClientError:
            return 2001
        return 2002
    _, _, service, region, _, name = arn.split(":")
    if service != "firehose":
        return 2002
    if region != "us-east-1":
        return 2001
    try:
        told = firehose.describe_delivery_stream(DeliveryStreamName=name.partition("/")[2])["DeliveryStreamDescription"]
    except ClientError:
        return 2003
    if told["DeliveryStreamStatus"] != "ACTIVE":
        return 2004
    endpoint = told["Destinations"][0].get("HttpEndpointDestinationDescription")
    if endpoint is None:
        return 2005
    return 0 if endpoint["EndpointConfiguration"]["Url"] == TRACKER else 2006


CODES = {
    "p1": 0,
    "missing-1": 2001,
    "denied-1": 2001,
    "elsewhere-1": 2001,
    "unlinked-1": 2002,
    "kinesis-1": 2002,
    "streamless-1": 2003,
    "creating-1": 2004,
    "s3only-1": 2005,
    "othertracker-1": 2006,
    **{f"{code:08d}" + "a" * 24: code for code in range(2001, 2007)},
}


@pytest.mark.parametrize("project", CODES)
def test_every_wrong_set_up_has_a_project(sink, project):
    tell(sink, "PUT", "/aws", {"tracker_url": TRACKER})
    assert verdict(sink, project) == CODES[project]


def test_no_wrong_set_up_is_left_out():
    told = {name for name in PROJECTS if not name.startswith("0000")}
    assert {name.removesuffix("-1") for name in CODES if name.endswith("-1")} == told - {"busy", "broken"}


def test_fixed_fates_and_wrong_set_ups_are_documented():
    page = (Path(__file__).parents[3] / "docs" / "reference" / "sink.md").read_text("utf-8")
    scenarios = dict(re.findall(r"^\| `(\d\d)` \| `(\w+)` \|", page, re.MULTILINE))
    assert scenarios == SPECIAL
    wrong = re.findall(r"^\| `(\w+)` \| (?:`(0000200\d)`)? ?\| .* \| (\d{4}|\W) \|$", page, re.MULTILINE)
    assert {name for name, *_ in wrong} == {n for n in PROJECTS if n.isalpha()} | CONFIGURATION_SETS.keys() | {"s3only"}
    assert {digits for _, digits, _ in wrong} - {""} == {name for name in PROJECTS if name.isdigit()}
    assert all(int(code) == CODES[f"{name}-1"] for name, _, code in wrong if f"{name}-1" in CODES)


def test_a_project_can_be_busy_or_broken(sink):
    pinpoint = client(sink, "pinpoint")
    response = refusal(pinpoint.get_event_stream, ApplicationId="busy")
    assert code_of(response) == ("TooManyRequestsException", 429)
    response = refusal(pinpoint.get_app, ApplicationId="broken")
    assert code_of(response) == ("InternalServerErrorException", 500)


def test_projects_and_streams_can_be_put(sink):
    tell(sink, "PUT", "/aws/projects/p1", {"stream": "mine", "region": "eu-west-1"})
    tell(sink, "PUT", "/aws/streams/mine", {"status": "DELETING", "url": "https://a.example/x", "access_key": "k"})
    assert code_of(refusal(client(sink, "pinpoint").get_app, ApplicationId="p1")) == ("NotFoundException", 404)
    arn = client(sink, "pinpoint", "eu-west-1").get_event_stream(ApplicationId="p1")["EventStream"]
    assert arn["DestinationStreamArn"].endswith("deliverystream/mine")
    told = client(sink, "firehose", "eu-west-1").describe_delivery_stream(DeliveryStreamName="mine")
    assert told["DeliveryStreamDescription"]["DeliveryStreamStatus"] == "DELETING"
    assert ask(sink, "PUT", "/aws/projects/p1", {"strem": "x"})[0] == 400
    assert ask(sink, "PUT", "/aws", {"tracker": "x"})[0] == 400
    assert tell(sink, "DELETE", "/aws")["projects"] == {}


def test_streams_are_listed_in_pages(sink):
    for n in range(25):
        tell(sink, "PUT", f"/aws/streams/s{n:02d}", {})
    firehose = client(sink, "firehose")
    found: list[str] = []
    start: dict[str, str] = {}
    while True:
        page = firehose.list_delivery_streams(**start)
        found += page["DeliveryStreamNames"]
        if not page["HasMoreDeliveryStreams"]:
            break
        assert len(page["DeliveryStreamNames"]) == 10
        start = {"ExclusiveStartDeliveryStreamName": found[-1]}
    assert found == sorted(found)
    assert {f"s{n:02d}" for n in range(25)} < set(found)
    assert not {"streamless", "kinesis", "elsewhere"} & set(found)


def test_what_is_not_played_is_said(sink):
    response = refusal(client(sink, "firehose").put_record, DeliveryStreamName="x", Record={"Data": b""})
    assert code_of(response) == ("UnknownOperationException", 400)
    assert ask(sink, "POST", "/", {})[0] == 404
    assert code_of(refusal(client(sink, "firehose").describe_delivery_stream, DeliveryStreamName="nope")) == (
        "ResourceNotFoundException",
        400,
    )


# End User Messaging.


def text(sink: Running, to: str = "+12025550101", **more: Any) -> Any:
    return client(sink, "pinpoint-sms-voice-v2").send_text_message(
        **{"DestinationPhoneNumber": to, "MessageBody": "hello", "ConfigurationSetName": "set", **more}
    )


def test_a_text_is_taken(sink):
    message_id = text(sink, Context={"mid": "m-1"})["MessageId"]
    (entry,) = tell(sink, "GET", "/sent?provider=end-user-messaging")["data"]
    assert (entry["message_id"], entry["mid"], entry["body"]) == (message_id, "m-1", "hello")
    text(sink, DryRun=True)
    assert tell(sink, "GET", "/sent/count")["messages"] == 1
    assert tell(sink, "GET", "/received/count?name=end-user-messaging")["count"] == 2


@pytest.mark.parametrize(
    ("word", "code", "reason"),
    [
        ("malformed", "ValidationException", "FIELD_VALIDATION_FAILED"),
        ("rejected", "ConflictException", "DESTINATION_COUNTRY_BLOCKED_BY_PROTECT_CONFIGURATION"),
        ("opted_out", "ConflictException", "DESTINATION_PHONE_NUMBER_OPTED_OUT"),
        ("throttled", "ThrottlingException", None),
        ("temporary", "InternalServerException", None),
        ("unknown_failure", "InternalServerException", None),
        ("error", "InternalServerException", None),
        ("max_price", "ServiceQuotaExceededException", "MONTHLY_SPEND_LIMIT_REACHED_FOR_TEXT"),
    ],
)
def test_a_number_can_have_a_fixed_error(sink, word, code, reason):
    response = refusal(text, sink=sink, to=number(word))
    assert code_of(response) == (code, 500 if code == "InternalServerException" else 400)
    assert response.get("Reason") == reason
    if word == "malformed":
        assert response["Fields"][0]["Name"] == "DestinationPhoneNumber"
    assert tell(sink, "GET", "/sent/count")["messages"] == 0


def test_a_text_can_be_taken_without_an_answer(sink):
    with pytest.raises(ConnectionClosedError):
        text(sink, number("lost_answer"))
    assert tell(sink, "GET", "/sent/count")["messages"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"DestinationPhoneNumber": "+0123"},
        {"MessageBody": "x" * 1601},
        {"MessageBody": "  "},
        {"MessageType": "SPAM"},
        {"Context": {str(n): "x" for n in range(6)}},
        {"Context": {"a": "x" * 801}},
        {"TimeToLive": 259_201},
        {"MaxPrice": "100.00"},
    ],
)
def test_what_botocore_lets_through_is_checked(sink, wrong):
    response = refusal(text, sink=sink, **wrong)
    assert code_of(response)[0] == "ValidationException"
    assert response["Fields"][0]["Name"] == next(iter(wrong))


def test_a_text_needs_a_configuration_set_that_exists(sink):
    response = refusal(text, sink=sink, ConfigurationSetName="missing")
    assert code_of(response)[0] == "ResourceNotFoundException"
    assert response["ResourceType"] == "configuration-set"
    assert code_of(refusal(text, sink=sink, OriginationIdentity="missing-1"))[0] == "ResourceNotFoundException"
    assert code_of(refusal(text, sink=sink, ConfigurationSetName="denied"))[0] == "AccessDeniedException"
    assert code_of(refusal(text, sink=sink, ConfigurationSetName="busy"))[0] == "ThrottlingException"


def test_configuration_sets_are_described(sink):
    describe = client(sink, "pinpoint-sms-voice-v2").describe_configuration_sets
    (found,) = describe(ConfigurationSetNames=["mine"])["ConfigurationSets"]
    (destination,) = found["EventDestinations"]
    assert destination["Enabled"]
    assert destination["MatchingEventTypes"] == ["TEXT_ALL"]
    arn = destination["KinesisFirehoseDestination"]["DeliveryStreamArn"]
    assert arn == "arn:aws:firehose:us-east-1:111122223333:deliverystream/receipts"
    seen = {}
    for name in CONFIGURATION_SETS:
        try:
            (found,) = describe(ConfigurationSetNames=[f"{name}-1"])["ConfigurationSets"]
        except ClientError as error:
            seen[name] = error.response["Error"]["Code"]
            continue
        kinds = [key for one in found["EventDestinations"] for key in one if key.endswith("Destination")]
        seen[name] = kinds[0] if kinds else ""
    assert seen == {
        "missing": "ResourceNotFoundException",
        "denied": "AccessDeniedException",
        "busy": "ThrottlingException",
        "broken": "InternalServerException",
        "elsewhere": "KinesisFirehoseDestination",
        "unlinked": "",
        "disabled": "KinesisFirehoseDestination",
        "voice": "KinesisFirehoseDestination",
        "sns": "SnsDestination",
        "cloudwatch": "CloudWatchLogsDestination",
        "streamless": "KinesisFirehoseDestination",
        "creating": "KinesisFirehoseDestination",
        "s3only": "KinesisFirehoseDestination",
        "othertracker": "KinesisFirehoseDestination",
    }
    tell(sink, "PUT", "/aws/configuration-sets/sns-1", {"enabled": False})
    (found,) = describe(ConfigurationSetNames=["sns-1"])["ConfigurationSets"]
    assert not found["EventDestinations"][0]["Enabled"]


def test_opted_out_numbers_get_nothing_from_either_service(sink):
    texting = client(sink, "pinpoint-sms-voice-v2")
    told = texting.put_opted_out_number(OptOutListName="Default", OptedOutNumber="+12025550101")
    assert (told["OptedOutNumber"], told["OptOutListName"]) == ("+12025550101", "Default")
    listed = texting.describe_opted_out_numbers(OptOutListName="Default")["OptedOutNumbers"]
    assert [entry["OptedOutNumber"] for entry in listed] == ["+12025550101"]
    assert refusal(text, sink=sink)["Reason"] == "DESTINATION_PHONE_NUMBER_OPTED_OUT"
    assert send(sink, "+12025550101")["+12025550101"]["DeliveryStatus"] == "OPT_OUT"
    texting.delete_opted_out_number(OptOutListName="Default", OptedOutNumber="+12025550101")
    text(sink)
    response = refusal(texting.describe_opted_out_numbers, OptOutListName="Default", OptedOutNumbers=["+12025550101"])
    assert code_of(response)[0] == "ResourceNotFoundException"


# Scenarios by rates.


def answers(sink: Running, **scenario: Any) -> list[str]:
    tell(sink, "PUT", "/fate/pinpoint", scenario)
    many = [f"+1202556{n:04d}" for n in range(100)]
    return [result["DeliveryStatus"] for result in send(sink, *many).values()]


def test_shares_of_answers_can_be_set_and_come_again_with_the_seed(sink):
    rates = {"throttle_rate": 0.3, "temporary_rate": 0.2, "refuse_rate": 0.1}
    first = answers(sink, seed="a", **rates)
    assert first == answers(sink, seed="a", **rates)
    assert first != answers(sink, seed="b", **rates)
    assert set(first) == {"THROTTLED", "TEMPORARY_FAILURE", "PERMANENT_FAILURE", "SUCCESSFUL"}
    assert 15 <= first.count("THROTTLED") <= 45
    told = tell(sink, "GET", "/fate/pinpoint")["fate"]
    assert (told["seed"], told["throttle_rate"]) == ("b", 0.3)
    assert tell(sink, "GET", "/fate")["special"]["01"] == "invalid"
    assert tell(sink, "DELETE", "/fate/pinpoint")["fate"]["throttle_rate"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"trottle_rate": 1},
        {"throttle_rate": 2},
        {"throttle_rate": 0.7, "refuse_rate": 0.7},
        {"mix": {"eaten": 1}},
        {"mix": {"spam": 0}},
        {"error_status": 200},
        [],
    ],
)
def test_nonsense_is_refused(sink, wrong):
    status, told = ask(sink, "PUT", "/fate/pinpoint", wrong)
    assert (status, told["code"]) == (400, "invalid_fate")


def test_a_provider_that_is_not_played_has_no_fate(sink):
    status, told = ask(sink, "PUT", "/fate/pigeon", {})
    assert (status, told["code"]) == (404, "unknown_provider")
