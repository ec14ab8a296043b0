"""The simulated Firehose, checked byte by byte by a receiver that implements the protocol."""

import asyncio
import base64
import contextlib
import functools
import gzip
import json
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import boto3
import pytest
import uvloop
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from tests.waiting import eventually
from waypost.sink.aws.firehose import fault, wrap
from waypost.sink.aws.pinpoint import EVENTS, parts
from waypost.sink.scenarios import SCENARIOS, SPECIAL, Dice, moments, read_settings
from waypost.sink.thread_runner import Running, running

# botocore's own deprecation warnings do not concern these tests.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:boto3"),
]

ACCESS_KEY = "made-up-access-key"
STREAM_ARN = "arn:aws:firehose:us-east-1:111122223333:deliverystream/receipts"


class Got:
    """One received request."""

    def __init__(self, first: str, headers: dict[str, str], wire: bytes) -> None:
        self.first = first
        self.headers = headers
        self.wire = wire
        self.body = json.loads(gzip.decompress(wire) if headers.get("Content-Encoding") == "gzip" else wire)
        self.records = [base64.b64decode(record["data"], validate=True) for record in self.body["records"]]

    @property
    def request_id(self) -> str:
        return self.headers["X-Amz-Firehose-Request-Id"]


def right(got: Got, **changes: Any) -> bytes:
    """Return the response that Firehose requires, or one with a defect."""
    told = {"requestId": got.request_id, "timestamp": 1_790_000_006_000, **changes.pop("told", {})}
    body: bytes = changes.pop("body", json.dumps(told).encode())
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **changes.pop("headers", {})}
    lines = [f"HTTP/1.1 {changes.pop('status', 200)} X", *(f"{k}: {v}" for k, v in headers.items() if v is not None)]
    assert not changes
    return "\r\n".join([*lines, "", ""]).encode() + body


class Receiver:
    """A receiver of Firehose's protocol with configurable responses."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answers: list[Callable[[Got], bytes]] = []
        self.url = ""
        self._talks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks[task] = writer
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines)
                assert len(headers) == len(lines)
                got = Got(first, headers, await reader.readexactly(int(headers["content-length"])))
                self.got.append(got)
                writer.write((self.answers.pop(0) if self.answers else right)(got))
                await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def stop(self) -> None:
        for writer in self._talks.values():
            writer.transport.abort()
        if self._talks:
            await asyncio.wait(self._talks)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(record) for got in self.got for record in got.records]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    listening = await asyncio.start_server(made.talk, "127.0.0.1", 0, limit=1 << 20)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/tracking/amazon-pinpoint-events?a=b"
    yield made
    listening.close()
    await made.stop()


@pytest.fixture(scope="module")
def shared():
    # With the event loop of the command.
    with running(loop_factory=uvloop.new_event_loop) as sink:
        yield sink


@pytest.fixture
async def sink(shared, receiver):
    for path in ("/aws", "/firehose", "/fate/pinpoint", "/fate/end-user-messaging", "/sent"):
        await tell(shared, "DELETE", path)
    await tell(shared, "PUT", "/aws", {"tracker_url": receiver.url, "access_key": ACCESS_KEY})
    await tell(shared, "PUT", "/firehose", {"seconds": 0.01, "retry_base": 0.001})
    yield shared
    # Pending retries must not reach the receiver of the next test.
    await tell(shared, "DELETE", "/aws")


async def ask(sink: Running, method: str, path: str, given: Any = None) -> tuple[int, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", sink.port)
    body = b"" if given is None else json.dumps(given).encode()
    writer.write(f"{method} {path} HTTP/1.1\r\nhost: s\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = re.search(r"content-length: (\d+)", head)
    assert length
    told = json.loads(await reader.readexactly(int(length[1])))
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return int(head.split()[1]), told


async def tell(sink: Running, method: str, path: str, given: Any = None) -> Any:
    status, told = await ask(sink, method, path, given)
    assert status == 200, told
    return told


async def settled(sink: Running, requests: int = 1) -> dict[str, Any]:
    """Return the state of the sender once this many requests or more are finished."""

    async def check() -> dict[str, Any] | None:
        told: dict[str, Any] = await tell(sink, "GET", "/firehose")
        done = told["requests"] >= requests and not told["waiting"] and not told["posts"]["pending"]
        return told if done else None

    found: dict[str, Any] = await eventually(check)
    return found


async def send(sink: Running, *addresses: str, project: str = "p1", **more: Any) -> dict[str, Any]:
    """Send a message to all addresses in one call; return the results."""

    def call() -> dict[str, Any]:
        answer = client(sink, "pinpoint").send_messages(
            ApplicationId=project,
            MessageRequest={
                "Addresses": {
                    address: {"ChannelType": "SMS", "Context": {"mid": f"m-{n}"}} for n, address in enumerate(addresses)
                },
                "MessageConfiguration": {
                    "SMSMessage": {"Body": "x" * 200, "MessageType": "PROMOTIONAL", "OriginationNumber": "+18335550100"}
                },
                **more,
            },
        )
        results: dict[str, Any] = answer["MessageResponse"]["Result"]
        return results

    return await asyncio.to_thread(call)


async def text(sink: Running, to: str, **more: Any) -> str:
    def call() -> str:
        answer = client(sink, "pinpoint-sms-voice-v2").send_text_message(
            **{
                "DestinationPhoneNumber": to,
                "MessageBody": "hello",
                "ConfigurationSetName": "set",
                "Context": {"mid": "m-1", "campaign": "c"},
                "OriginationIdentity": "+18335550100",
                "MessageType": "PROMOTIONAL",
                **more,
            }
        )
        message_id: str = answer["MessageId"]
        return message_id

    return await asyncio.to_thread(call)


def client(sink: Running, service: str) -> Any:
    return made_client(sink.url, service)


@functools.cache
def made_client(url: str, service: str) -> Any:
    """Return a client; creating one takes botocore a tenth of a second."""
    return boto3.session.Session().client(
        service,
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="made/up+secret",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=5),
    )


async def put(sink: Running, *records: Any, **more: Any) -> None:
    await tell(sink, "POST", "/firehose/records", {"records": list(records), **more})


def number(word: str) -> str:
    return f"+120255500{next(digits for digits, scenario in SPECIAL.items() if scenario == word)}"


# The protocol.


async def test_a_request_is_as_the_protocol_says(sink, receiver):
    await tell(sink, "PUT", "/firehose", {"seconds": 0.01, "common_attributes": {"tenant": "t-1", "quoted": 'a "b"'}})
    await put(sink, {"a": 1}, "not json\n", "", base64=[base64.b64encode(b"\xff\x00").decode()])
    told = await settled(sink)
    (got,) = receiver.got
    assert got.first == "POST /tracking/amazon-pinpoint-events?a=b HTTP/1.1"
    assert uuid.UUID(got.request_id).version == 4
    length = got.headers.pop("content-length")
    assert got.headers.pop("User-Agent")
    assert got.headers == {
        "host": receiver.url.split("/")[2],
        "X-Amz-Firehose-Protocol-Version": "1.0",
        "X-Amz-Firehose-Request-Id": got.request_id,
        "X-Amz-Firehose-Source-Arn": STREAM_ARN,
        "X-Amz-Firehose-Access-Key": ACCESS_KEY,
        "X-Amz-Firehose-Common-Attributes": '{"commonAttributes":{"tenant":"t-1","quoted":"a \\"b\\""}}',
        "Content-Type": "application/json",
    }
    assert len(got.wire) == int(length)
    assert set(got.body) == {"requestId", "timestamp", "records"}
    assert got.body["requestId"] == got.request_id
    assert 1_700_000_000_000 < got.body["timestamp"] < 10_000_000_000_000
    assert all(set(record) == {"data"} for record in got.body["records"])
    assert got.records == [b'{"a":1}', b"not json\n", b"", b"\xff\x00"]
    (answer,) = told["answers"]
    assert (answer["status"], answer["taken"], answer["problem"], answer["records"]) == (200, True, "", 4)
    assert (told["records"], told["posts"]["sent"]) == (4, told["posts"]["attempts"])


async def test_no_access_key_is_no_header_and_gzip_is_gzip(sink, receiver):
    await tell(sink, "PUT", "/aws", {"tracker_url": receiver.url})
    await tell(sink, "PUT", "/firehose", {"seconds": 0.01, "gzip": True})
    await put(sink, "x" * 10_000)
    await settled(sink)
    (got,) = receiver.got
    assert "X-Amz-Firehose-Access-Key" not in got.headers
    assert got.headers["Content-Encoding"] == "gzip"
    assert got.wire[:2] == b"\x1f\x8b"
    assert len(got.wire) < 1000
    assert got.records == [b"x" * 10_000]


WRONG: dict[str, Callable[[Got], bytes]] = {
    "201": lambda got: right(got, status=201),
    "204": lambda got: right(got, status=204, body=b""),
    "302": lambda got: right(got, status=302, headers={"Location": "/elsewhere"}),
    "401": lambda got: right(got, status=401, told={"errorMessage": "no"}),
    "500": lambda got: right(got, status=500),
    "503": lambda got: right(got, status=503),
    "another id": lambda got: right(got, told={"requestId": "other"}),
    "no id": lambda got: right(got, body=b'{"timestamp":1}'),
    "text timestamp": lambda got: right(got, told={"timestamp": "1790000006000"}),
    "a float": lambda got: right(got, told={"timestamp": 1.5}),
    "no timestamp": lambda got: right(got, told={"timestamp": None}),
    "not json": lambda got: right(got, body=b"ok"),
    "a list": lambda got: right(got, body=b"[]"),
    "empty": lambda got: right(got, body=b""),
    "html": lambda got: right(got, headers={"Content-Type": "text/html"}),
    "no type": lambda got: right(got, headers={"Content-Type": None}),
    "encoded": lambda got: right(got, headers={"Content-Encoding": "identity"}),
    "chunked": lambda got: right(
        got,
        headers={"Content-Length": None, "Transfer-Encoding": "chunked"},
        body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(right(got).split(b"\r\n\r\n")[1]), right(got).split(b"\r\n\r\n")[1]),
    ),
    "too long": lambda got: right(got, told={"errorMessage": "x" * (1 << 20)}),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_answer_is_tried_again_with_the_same_id(sink, receiver, name):
    receiver.answers = [WRONG[name], WRONG[name]]
    await put(sink, {"a": 1})
    told = await settled(sink)
    assert len(receiver.got) == 3
    assert len({got.request_id for got in receiver.got}) == 1
    assert len({got.wire for got in receiver.got}) == 1
    assert [answer["taken"] for answer in told["answers"]] == [False, False, True]
    assert all(answer["problem"] for answer in told["answers"][:2])


async def test_content_type_may_have_parameters(sink, receiver):
    receiver.answers = [lambda got: right(got, headers={"Content-Type": "application/json; charset=utf-8"})]
    await put(sink, {"a": 1})
    await settled(sink)
    assert len(receiver.got) == 1


async def test_413_is_the_end(sink, receiver):
    receiver.answers = [lambda got: right(got, status=413)]
    failed = (await tell(sink, "GET", "/firehose"))["posts"]["failed"]
    await put(sink, {"a": 1})
    told = await settled(sink)
    assert len(receiver.got) == 1
    assert told["posts"]["failed"] == failed + 1


async def test_tries_end(sink, receiver):
    await tell(sink, "PUT", "/firehose", {"seconds": 0.01, "attempts": 3, "retry_base": 0.001})
    receiver.answers = [WRONG["500"]] * 10
    await put(sink, {"a": 1})
    await settled(sink)
    assert len(receiver.got) == 3


# Batches.


async def test_batches_are_cut_by_count_and_the_rest_by_time(sink, receiver):
    await tell(sink, "PUT", "/firehose", {"records": 10, "seconds": 0.01})
    await put(sink, *range(25))
    await settled(sink, 3)
    sizes = Counter(len(got.records) for got in receiver.got)
    assert sizes == {10: 2, 5: 1}
    assert sorted(receiver.events, key=int) == list(range(25))


async def test_batches_are_cut_by_size(sink, receiver):
    await tell(sink, "PUT", "/firehose", {"bytes": 1000, "seconds": 0.01})
    await put(sink, *("x" * 300 for _ in range(6)))
    await settled(sink, 2)
    assert [len(got.records) for got in receiver.got] == [3, 3]


async def test_what_waits_can_be_sent_at_once(sink, receiver):
    await tell(sink, "PUT", "/firehose", {"seconds": 1000})
    await put(sink, 1, 2)
    assert (await tell(sink, "GET", "/firehose"))["waiting"] == 2
    assert await tell(sink, "POST", "/firehose/flush") == {"sent": 2}
    await settled(sink)
    assert receiver.events == [1, 2]
    await put(sink, 3)
    told = await tell(sink, "DELETE", "/firehose")
    assert told["settings"]["seconds"] == 0.2
    assert (await tell(sink, "GET", "/firehose"))["waiting"] == 0


@pytest.mark.parametrize("name", ["streamless", "kinesis", "creating", "s3only"])
async def test_a_stream_that_leads_nowhere_loses_its_records(sink, receiver, name):
    await send(sink, "+12025550101", project=f"{name}-1")
    told = await settled(sink, 0)
    assert (told["undeliverable"], told["requests"], receiver.got) == (2, 0, [])


async def test_requests_can_be_repeated_with_the_same_id(sink, receiver):
    await tell(sink, "PUT", "/firehose", {"records": 1, "repeat_rate": 0.5, "seed": "a"})
    await put(sink, *range(40))
    await settled(sink, 40)
    times = Counter(got.request_id for got in receiver.got)
    assert len(times) == 40
    assert set(times.values()) == {1, 2}
    assert 5 < Counter(times.values())[2] < 35


async def test_records_can_hold_several_events(sink, receiver):
    await tell(sink, "PUT", "/firehose", {"seconds": 0.01, "joined": 3, "delimiter": True})
    await send(sink, "+12025550101", "+12025550102")
    await settled(sink)
    (got,) = receiver.got
    assert [record.count(b"\n") for record in got.records] == [3, 1]
    assert all(json.loads(line)["event_type"] for record in got.records for line in record.splitlines())


async def test_other_kinds_of_records_can_be_mixed_in(sink, receiver):
    await tell(sink, "PUT", "/firehose", {"seconds": 0.01, "noise_rate": 0.5})
    await send(sink, *(f"+1202555{n}" for n in range(1000, 1010)))
    await settled(sink)
    kinds = Counter(event["event_type"] for event in receiver.events)
    assert kinds == {"_SMS.BUFFERED": 10, "_SMS.SUCCESS": 10, "_session.start": 10}


@pytest.mark.parametrize("wrong", [{"records": 0}, {"recods": 1}, {"wrap": "paper"}, {"noise_rate": 2}, []])
async def test_nonsense_is_refused(sink, wrong):
    assert (await ask(sink, "PUT", "/firehose", wrong))[0] == 400
    status, told = await ask(sink, "POST", "/firehose/records", {"base64": ["?"]})
    assert (status, told["code"]) == (400, "invalid_records")


# Events.


async def test_events_of_pinpoint_are_as_aws_documents_them(sink, receiver):
    results = await send(sink, "+919812345678", Context={"campaign": 'c "7"'})
    await settled(sink)
    buffered, success = receiver.events
    assert buffered["event_type"] == "_SMS.BUFFERED"
    assert (buffered["attributes"]["record_status"], buffered["metrics"]) == ("PENDING", {})
    assert success["event_timestamp"] > buffered["event_timestamp"]
    attributes = success.pop("attributes")
    assert json.loads(attributes.pop("customer_context")) == {"mid": "m-0", "campaign": 'c "7"'}
    assert uuid.UUID(attributes.pop("sender_request_id")).version == 4
    assert attributes == {
        "message_id": results["+919812345678"]["MessageId"],
        "record_status": "DELIVERED",
        "destination_phone_number": "+919812345678",
        "origination_phone_number": "+18335550100",
        "iso_country_code": "IN",
        "mcc_mnc": "310260",
        "number_of_message_parts": "2",
        "message_type": "Promotional",
        "treatment_id": "0",
    }
    assert success["metrics"] == {"price_in_millicents_usd": 645.0}
    assert set(success) == set(buffered) - {"attributes"}
    assert (success["event_version"], success["application"]["app_id"]) == ("3.1", "p1")


async def steps_of(sink: Running, receiver: Receiver, *words: str) -> list[tuple[str, str]]:
    await send(sink, *(number(word) for word in words))
    await settled(sink)
    return [(event["event_type"], event["attributes"]["record_status"]) for event in receiver.events]


@pytest.mark.parametrize(
    "word", [word for word in SPECIAL.values() if SCENARIOS[word][1] and word not in ("no_answer", "lost_answer")]
)
async def test_every_fate_has_its_events(sink, receiver, word):
    told = await steps_of(sink, receiver, word)
    assert told == [EVENTS[step] for step in SCENARIOS[word][1]]


async def test_a_silent_message_and_a_lost_answer(sink, receiver):
    await send(sink, number("silent"))
    with contextlib.suppress(Exception):
        await send(sink, number("lost_answer"))
    await settled(sink)
    assert [event["event_type"] for event in receiver.events] == ["_SMS.BUFFERED", "_SMS.SUCCESS"]


async def test_who_has_written_stop_gets_no_more(sink, receiver):
    assert ("_SMS.OPTOUT", "DELIVERED") in await steps_of(sink, receiver, "stopped")
    results = await send(sink, number("stopped"))
    assert results[number("stopped")]["DeliveryStatus"] == "OPT_OUT"


async def test_the_context_can_have_each_of_its_forms(sink, receiver):
    contexts = []
    for form in ("customer_context", "flat", "client_context"):
        await tell(sink, "PUT", "/firehose", {"seconds": 0.01, "context": form})
        await send(sink, "+12025550101")
        await settled(sink)
        contexts.append(receiver.events[-1])
        receiver.got.clear()
        await tell(sink, "DELETE", "/firehose")
    first, second, third = contexts
    assert json.loads(first["attributes"]["customer_context"]) == {"mid": "m-0"}
    assert second["attributes"]["mid"] == "m-0"
    assert json.loads(third["client_context"]["custom"]) == {"mid": "m-0"}
    assert "customer_context" not in second["attributes"].keys() | third["attributes"].keys()


async def test_events_of_end_user_messaging_are_as_aws_documents_them(sink, receiver):
    message_id = await text(sink, "+12025550101")
    await settled(sink)
    queued, delivered = receiver.events
    assert (queued["eventType"], queued["isFinal"], queued["messageStatus"]) == ("TEXT_QUEUED", False, "QUEUED")
    assert delivered["eventTimestamp"] >= delivered["messageRequestTimestamp"] == queued["messageRequestTimestamp"]
    assert (
        delivered.items()
        >= {
            "eventType": "TEXT_DELIVERED",
            "eventVersion": "1.0",
            "isFinal": True,
            "originationPhoneNumber": "+18335550100",
            "destinationPhoneNumber": "+12025550101",
            "isoCountryCode": "US",
            "messageId": message_id,
            "messageType": "PROMOTIONAL",
            "messageEncoding": "GSM",
            "messageStatus": "DELIVERED",
            "context": {"mid": "m-1", "campaign": "c"},
            "totalMessageParts": 1,
            "totalMessagePrice": 0.00581,
            "totalCarrierFee": 0.003,
        }.items()
    )


@pytest.mark.parametrize("set_name", ["unlinked", "disabled", "sns", "cloudwatch", "voice"])
async def test_a_configuration_set_that_does_not_listen_tells_nothing(sink, receiver, set_name):
    await text(sink, "+12025550101", ConfigurationSetName=set_name)
    await text(sink, "+12025550102")
    await settled(sink)
    assert {event["destinationPhoneNumber"] for event in receiver.events} == {"+12025550102"}


async def test_events_can_come_through_eventbridge_or_sns(sink, receiver):
    await tell(sink, "PUT", "/firehose", {"seconds": 0.01, "wrap": "eventbridge"})
    message_id = await text(sink, "+12025550101")
    await settled(sink)
    first = receiver.events[0]
    assert (first["source"], first["detail-type"]) == ("aws.sms-voice", "Text Message Delivery Status Updated")
    assert first["detail"]["messageId"] == message_id
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["time"])
    await tell(sink, "PUT", "/firehose", {"seconds": 0.01, "wrap": "sns"})
    receiver.got.clear()
    results = await send(sink, "+12025550101")
    await settled(sink, 2)
    first = receiver.events[0]
    assert first["Type"] == "Notification"
    inner = json.loads(first["Message"])
    assert inner["attributes"]["message_id"] == results["+12025550101"]["MessageId"]


# Scenarios by rates.


async def outcomes(sink: Running, receiver: Receiver, count: int = 100, **scenario: Any) -> dict[str, list[str]]:
    """Return the receipts of each of this many messages, in order, with these settings."""
    receiver.got.clear()
    await tell(sink, "DELETE", "/firehose")
    await tell(sink, "PUT", "/firehose", {"seconds": 0.02})
    await tell(sink, "PUT", "/fate/pinpoint", scenario)
    addresses = [f"+1202556{n:04d}" for n in range(count)]
    await send(sink, *addresses)
    await settled(sink, 0)
    seen: dict[str, list[str]] = {address: [] for address in addresses}
    for event in receiver.events:
        seen[event["attributes"]["destination_phone_number"]].append(event["attributes"]["record_status"])
    return seen


async def test_failures_can_be_a_share_or_a_mix(sink, receiver):
    seen = await outcomes(sink, receiver, failure_rate=0.4, intermediate=False, seed="a")
    assert all(len(told) == 1 for told in seen.values())
    failed = [told for told in seen.values() if told != ["DELIVERED"]]
    assert 20 <= len(failed) <= 60
    assert len({told[0] for told in failed}) > 2
    assert await outcomes(sink, receiver, failure_rate=0.4, intermediate=False, seed="a") == seen
    mixed = await outcomes(sink, receiver, mix={"spam": 3, "novel": 1}, intermediate=False)
    found = Counter(told[0] for told in mixed.values())
    assert set(found) == {"SPAM", "TELEPORTED"}
    assert found["SPAM"] > found["TELEPORTED"]


async def test_receipts_can_be_repeated_reordered_lost_or_left_out(sink, receiver):
    usual = ["PENDING", "DELIVERED"]
    assert set(map(tuple, (await outcomes(sink, receiver, duplicate_rate=1)).values())) == {tuple(usual * 2)}
    assert set(map(tuple, (await outcomes(sink, receiver, reorder_rate=1)).values())) == {tuple(usual[::-1])}
    lost = await outcomes(sink, receiver, lost_rate=0.5)
    assert {tuple(told) for told in lost.values()} == {(), tuple(usual)}
    assert set(map(tuple, (await outcomes(sink, receiver, receipts=False)).values())) == {()}


async def test_receipts_can_be_late(sink, receiver):
    await tell(sink, "PUT", "/fate/pinpoint", {"receipt_delay": 0.2})
    start = asyncio.get_running_loop().time()
    await send(sink, "+12025550101")
    await settled(sink)
    assert asyncio.get_running_loop().time() - start >= 0.19


@given(st.text(max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_the_same_seed_gives_the_same_fates(seed, failures, lost):
    settings = {"seed": seed, "failure_rate": failures, "lost_rate": lost, "duplicate_rate": 0.3}
    first, second = dice(**settings), dice(**settings)
    assert [first.message("+12025551234") for _ in range(50)] == [second.message("+12025551234") for _ in range(50)]


def dice(**settings: Any) -> Dice:
    made = Dice("x", ("spam", "blocked"))
    made.set(read_settings(settings))
    return made


@given(st.sampled_from([steps for _, steps in SCENARIOS.values() if steps]))
def test_moments_rise_in_the_order_of_things(steps):
    at = dict(zip(steps, moments(steps), strict=True))
    assert all(at[first] < at[later] for first in ("queued",) for later in at if first in at and later != first)
    assert len(set(at.values())) == len(at)


@given(st.text(min_size=1, max_size=2000))
def test_parts_are_never_too_few_to_hold_the_text(words):
    count = parts(words)
    assert len(words) <= count * (160 if words.isascii() else 70)
    assert count == 1 or len(words) > (count - 1) * (153 if words.isascii() else 67)


def test_an_answer_has_one_fault_at_most_and_wrapping_keeps_the_event():
    good = {"content-type": "application/json", "content-length": "40"}
    assert fault("i", 200, b'{"requestId":"i","timestamp":1}', good) == ""
    assert fault("i", 200, b'{"requestId":"i","timestamp":true}', good) != ""
    assert fault("i", 200, b"\xff", good) == "the body is not JSON"
    assert json.loads(wrap(b'{"a":1}', "eventbridge", "r"))["detail"] == {"a": 1}
    assert json.loads(json.loads(wrap(b'{"a":1}', "sns", "r"))["Message"]) == {"a": 1}
