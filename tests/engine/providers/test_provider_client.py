"""The provider client: the verdict for each failure, tokens that are requested once, and masked secrets."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.engine.conftest import LOOPBACK, Outside, listening
from waypost.clock import now_us
from waypost.domain.messaging.message import Content, Outgoing, SendOutcome
from waypost.domain.providers.connection import Connection
from waypost.domain.providers.connection_config import check_config
from waypost.domain.providers.connector import Connector
from waypost.domain.providers.definition import parse_own_connector
from waypost.domain.values.egress_guard import parse_networks
from waypost.engine.net.outbound import Outbound
from waypost.engine.providers.connectors import shipped
from waypost.engine.providers.provider_client import ProviderClient
from waypost.errors import Unavailable

CALLBACK = "https://waypost.example/receipts/con_0000000000000007"
SECRET = 'key-"with"-quotes/and+more'


class Asked:
    """A request as the server of a test received it."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.path, self.headers, self.body = method, path, headers, body


Answerer = Callable[[Asked], tuple[int, Any]]


@asynccontextmanager
async def provider(answer: Answerer) -> AsyncIterator[tuple[str, list[Asked]]]:
    """Run a provider that responds as a function decides; yield its URL and the requests that it received."""
    asked: list[Asked] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            first, *lines = head.decode().split("\r\n")
            pairs = [line.partition(":") for line in lines if line]
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            method, path, _ = first.split(" ")
            asked.append(Asked(method, path, headers, body))
            status, told = answer(asked[-1])
            raw = json.dumps(told).encode()
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nx-echo: %b\r\n\r\n" % (status, len(raw), b"a"))
            writer.write(raw)
            await writer.drain()

    async with listening(serve) as port:
        yield f"http://127.0.0.1:{port}", asked


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    opened = Outbound(parse_networks(LOOPBACK))
    yield opened
    await opened.stop()


@pytest.fixture
def wire(outbound: Outbound) -> ProviderClient:
    return ProviderClient(outbound, lambda connection: CALLBACK)


def connection(connector: Connector, **config: Any) -> Connection:
    return Connection(
        id=7,
        workspace_id=1,
        name="Test",
        connector=connector,
        config=check_config(connector, config),
        status="enabled",
        position=0,
        per_second=None,
        concurrency=4,
        validity_s=3600,
        data_center="",
        version=1,
    )


def gateway(url: str, **config: Any) -> Connection:
    return connection(shipped()["http"], url=url, **config)


def message(number: int = 1, text: str = "Hi", **changes: Any) -> Outgoing:
    now = now_us()
    given: dict[str, Any] = {
        "id": number,
        "workspace_id": 1,
        "connection_id": 7,
        "channel": "sms",
        "address": f"+1202555{number:04d}",
        "content": Content(text=text),
        "purpose": "transactional",
        "created_at": now,
        "expires_at": now + 3_600_000_000,
    } | changes
    return Outgoing(**given)


async def test_a_message_arrives_and_its_id_comes_back(wire):
    async with provider(lambda asked: (200, {"id": "m-1"})) as (url, asked):
        verdicts = await wire.send(gateway(url + "/send"), [message()], now_us())
    assert [(one.outcome, one.provider_message_id) for one in verdicts] == [(SendOutcome.ACCEPTED, "m-1")]
    assert (asked[0].method, asked[0].path) == ("POST", "/send")
    assert json.loads(asked[0].body) == {"to": "+12025550001", "text": "Hi", "reference": "msg_0000000000000001"}


@pytest.mark.parametrize(
    ("options", "outcome", "reason"),
    [
        ({"status": 429, "retry_after": 3}, "retry", "throttled"),
        ({"status": 500}, "unknown", "provider_5xx"),
        ({"status": 401}, "misconfigured", "configuration"),
        ({"redirect": "http://127.0.0.1:1/"}, "misconfigured", "redirected"),
        ({"close": True}, "unknown", "no_answer"),
        ({"reset": True}, "unknown", "no_answer"),
        ({"garbage": True}, "unknown", "no_answer"),
        ({"truncate": True}, "unknown", "no_answer"),
    ],
)
async def test_what_goes_wrong_at_the_provider(wire, outside, options, outcome, reason, request):
    url = outside.hook(f"wire-{abs(hash(request.node.name))}", **options)
    (found,) = await wire.send(gateway(url), [message()], now_us())
    assert (found.outcome.value, found.reason) == (outcome, reason)
    if "retry_after" in options:
        assert found.retry_after == 3_000_000


async def test_nobody_is_there(wire):
    async with provider(lambda asked: (200, {})) as (url, _):
        pass
    (found,) = await wire.send(gateway(url), [message()], now_us())
    assert (found.outcome, found.reason) == (SendOutcome.RETRY, "unreachable")


async def test_a_private_address_is_not_reached():
    guarded = Outbound(parse_networks(""))
    try:
        (found,) = await ProviderClient(guarded, lambda _: "").send(
            gateway("http://127.0.0.1:9/"), [message()], now_us()
        )
    finally:
        await guarded.stop()
    assert (found.outcome, found.reason) == (SendOutcome.MISCONFIGURED, "address_forbidden")


async def test_a_slow_answer_is_no_answer(wire, outside: Outside):
    definition = f"""
name = "slow"
label = "Slow"
channel = "sms"
base_url = "http://127.0.0.1:{outside.port}"
path = "/hook/wire-slow"
query = {{ hang = "1" }}
timeout_ms = 200
answers = [{{ status = 200, outcome = "accepted" }}]
"""
    connector = parse_own_connector(definition, "slow")
    (found,) = await wire.send(connection(connector), [message()], now_us())
    assert (found.outcome, found.reason) == (SendOutcome.UNKNOWN, "no_answer")
    # If the provider deduplicates messages, a retry is safe and the result is not unknown.
    repeatable = parse_own_connector(definition + "idempotent = true\n", "slow")
    (found,) = await wire.send(connection(repeatable), [message()], now_us())
    assert (found.outcome, found.reason) == (SendOutcome.RETRY, "no_answer")


async def test_a_message_that_cannot_be_said_is_rejected_and_nothing_is_sent(wire):
    async with provider(lambda asked: (200, {"id": "1"})) as (url, asked):
        refused = await wire.send(gateway(url, headers="X-T: {{ message.text }}"), [message(text="a\nb")], now_us())
        broken = await wire.send(gateway(url, body_template="a={{ message.to }}"), [message()], now_us())
    assert (refused[0].outcome, refused[0].reason) == (SendOutcome.REJECTED, "invalid_request")
    assert (broken[0].outcome, broken[0].reason) == (SendOutcome.MISCONFIGURED, "configuration")
    assert asked == []


# Tokens


def with_token(url: str, **changes: Any) -> Connection:
    given = {
        "auth": "oauth2",
        "token_url": url + "/token",
        "client_id": "me",
        "client_secret": SECRET,
        "scope": "send",
    } | changes
    return gateway(url + "/send", **given)


async def test_a_token_is_asked_for_once_and_kept(wire):
    def answer(asked: Asked) -> tuple[int, Any]:
        if asked.path == "/token":
            return 200, {"access_token": "t-1", "expires_in": 3600, "token_type": "Bearer"}
        return 200, {"id": asked.headers["authorization"]}

    async with provider(answer) as (url, asked):
        chosen = with_token(url)
        found = await asyncio.gather(*(wire.send(chosen, [message(n)], now_us()) for n in range(1, 6)))
        found.append(await wire.send(chosen, [message(6)], now_us()))
    assert [verdicts[0].provider_message_id for verdicts in found] == ["Bearer t-1"] * 6
    (token,) = [one for one in asked if one.path == "/token"]
    assert parse_qs(token.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["send"]}
    pair = base64.b64decode(token.headers["authorization"].removeprefix("Basic ")).decode()
    assert pair == "me:key-%22with%22-quotes%2Fand%2Bmore"


async def test_a_token_that_was_taken_back_is_replaced(wire):
    tokens = iter(("t-1", "t-2", "t-3"))
    good = {"Bearer t-1"}

    def answer(asked: Asked) -> tuple[int, Any]:
        if asked.path == "/token":
            return 200, {"access_token": next(tokens), "expires_in": "3600"}
        return (200, {"id": "1"}) if asked.headers["authorization"] in good else (401, {"message": "no"})

    async with provider(answer) as (url, asked):
        chosen = with_token(url)
        assert (await wire.send(chosen, [message(1)], now_us()))[0].outcome is SendOutcome.ACCEPTED
        good.clear()
        good.add("Bearer t-2")
        assert (await wire.send(chosen, [message(2)], now_us()))[0].outcome is SendOutcome.ACCEPTED
        good.clear()
        # A new token is refused as well, so the token is not the cause.
        assert (await wire.send(chosen, [message(3)], now_us()))[0].outcome is SendOutcome.MISCONFIGURED
    assert [one.path for one in asked] == ["/token", "/send", "/send", "/token", "/send", "/send", "/token", "/send"]


@pytest.mark.parametrize("lasts", [30, 0, -5])
async def test_a_token_that_hardly_lasts_is_not_kept(wire, lasts):
    def answer(asked: Asked) -> tuple[int, Any]:
        return 200, {"access_token": "t", "expires_in": lasts} if asked.path == "/token" else {"id": "1"}

    async with provider(answer) as (url, asked):
        for number in (1, 2):
            assert (await wire.send(with_token(url), [message(number)], now_us()))[0].outcome is SendOutcome.ACCEPTED
    assert [one.path for one in asked] == ["/token", "/send"] * 2


@pytest.mark.parametrize(
    ("status", "told", "outcome"),
    [
        (400, {"error": "invalid_client"}, SendOutcome.MISCONFIGURED),
        (401, {"error": SECRET}, SendOutcome.MISCONFIGURED),
        (500, {}, SendOutcome.RETRY),
        (429, {}, SendOutcome.RETRY),
        (200, {"access_token": "a\r\nX: 1"}, SendOutcome.MISCONFIGURED),
        (200, {"access_token": ""}, SendOutcome.MISCONFIGURED),
        (200, {"token": "x"}, SendOutcome.MISCONFIGURED),
        (200, [], SendOutcome.MISCONFIGURED),
    ],
)
async def test_without_a_token_nothing_is_sent(wire, status, told, outcome):
    async with provider(lambda asked: (status, told)) as (url, asked):
        (found,) = await wire.send(with_token(url), [message()], now_us())
    assert (found.outcome, found.reason) == (outcome, "no_token")
    assert SECRET not in (found.detail or "")
    assert [one.path for one in asked] == ["/token"]


# Test sends


async def test_a_trial_shows_all_but_the_secrets(wire):
    def answer(asked: Asked) -> tuple[int, Any]:
        # A provider that repeats the whole request in its response.
        return 400, {"message": f"bad key {SECRET}", "auth": asked.headers["x-key"], "code": 7}

    async with provider(answer) as (url, asked):
        chosen = gateway(
            url + "/send",
            auth="header",
            auth_header="X-Key",
            auth_value=SECRET,
            headers="X-Other: another-secret\nX-Open: {{ message.id }}",
            body_template='{"key": "{{ config.auth_value }}", "text": "{{ message.text }}"}',
        )
        trial = await wire.send_test(chosen, message(text="Grüße"), now_us())
    assert asked[0].headers["x-key"] == SECRET
    assert json.loads(asked[0].body)["key"] == SECRET
    assert trial.verdict.outcome is SendOutcome.REJECTED
    assert trial.verdict.provider_code == "7"
    assert trial.request is not None
    assert trial.response is not None
    assert (trial.request.method, trial.request.url) == ("POST", url + "/send")
    assert json.loads(trial.request.body) == {"key": "***", "text": "Grüße"}
    assert dict(trial.request.headers)["X-Key"] == "***"
    assert trial.response.status == 400
    assert trial.timings["total"] > 0
    told = repr(trial)
    assert SECRET not in told
    assert json.dumps(SECRET)[1:-1] not in told
    assert "another-secret" not in told


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        ({"auth": "basic", "username": "u", "password": SECRET}, "Basic ***"),
        ({"auth": "bearer", "token": SECRET}, "Bearer ***"),
    ],
)
async def test_no_trial_shows_what_is_made_of_a_secret(wire, config, shown):
    async with provider(lambda asked: (200, {"id": "1"})) as (url, asked):
        trial = await wire.send_test(gateway(url, **config), message(), now_us())
    assert trial.request is not None
    assert dict(trial.request.headers)["Authorization"] == shown
    assert asked[0].headers["authorization"] != shown
    assert asked[0].headers["authorization"] not in repr(trial)


async def test_a_trial_with_a_token_does_not_show_it(wire):
    def answer(asked: Asked) -> tuple[int, Any]:
        return 200, {"access_token": "very-secret"} if asked.path == "/token" else {"id": "1"}

    async with provider(answer) as (url, _):
        trial = await wire.send_test(with_token(url), message(), now_us())
    assert trial.verdict.outcome is SendOutcome.ACCEPTED
    assert trial.request is not None
    assert dict(trial.request.headers)["Authorization"] == "Bearer ***"
    assert "very-secret" not in repr(trial)


async def test_a_trial_with_signature_does_not_show_it(wire):
    async with provider(lambda asked: (200, {"MessageId": "1"})) as (url, asked):
        chosen = connection(
            shipped()["aws-end-user-messaging"],
            region="eu-west-1",
            access_key="AKIAIOSFODNN7EXAMPLE",
            secret_key="very-secret",
            endpoint_url=url,
        )
        trial = await wire.send_test(chosen, message(), now_us())
    assert trial.verdict.outcome is SendOutcome.ACCEPTED
    signed = asked[0].headers["authorization"]
    assert signed.startswith("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/")
    assert signed.rpartition("=")[2] not in repr(trial)
    assert "AKIAIOSFODNN7EXAMPLE" not in repr(trial)
    assert trial.request is not None
    assert dict(trial.request.headers)["X-Amz-Target"] == "PinpointSMSVoiceV2.SendTextMessage"


async def test_a_trial_of_what_cannot_be_sent_has_no_request(wire):
    trial = await wire.send_test(gateway("http://127.0.0.1:1/", body_template="x=1"), message(), now_us())
    assert trial.request is None
    assert trial.response is None
    assert trial.verdict.outcome is SendOutcome.MISCONFIGURED


# Calls with many messages


def pinpoint(url: str) -> Connection:
    return connection(
        shipped()["aws-pinpoint"],
        region="eu-west-1",
        project_id="abc",
        access_key="AKIAIOSFODNN7EXAMPLE",
        secret_key="very-secret",
        endpoint_url=url,
    )


def taken(asked: Asked) -> tuple[int, Any]:
    """Respond as Pinpoint: accept all messages, or refuse the call if one of them contains the text for that."""
    addresses = json.loads(asked.body)["Addresses"]
    if any(one["BodyOverride"] == "bad" for one in addresses.values()):
        return 400, {"Message": "bad", "RequestID": "r"}
    result = {
        address: {"DeliveryStatus": "SUCCESSFUL", "StatusCode": 200, "MessageId": f"id-{one['BodyOverride']}"}
        for address, one in addresses.items()
    }
    return 200, {"ApplicationId": "abc", "RequestId": "r", "Result": result}


async def test_a_hundred_messages_go_out_in_one_call(wire):
    async with provider(taken) as (url, asked):
        verdicts = await wire.send(pinpoint(url), [message(n, f"t{n}") for n in range(100)], now_us())
    assert [one.provider_message_id for one in verdicts] == [f"id-t{n}" for n in range(100)]
    assert len(asked) == 1


async def test_messages_that_do_not_go_together_go_one_after_the_other(wire):
    same = [message(1, "a"), message(1, "b"), message(2, "c", purpose="promotional"), message(3, "d")]
    async with provider(taken) as (url, asked):
        verdicts = await wire.send(pinpoint(url), same, now_us())
    assert [one.provider_message_id for one in verdicts] == ["id-a", "id-b", "id-c", "id-d"]
    assert len(asked) == 3


async def test_one_message_spoils_the_call_of_nobody_else(wire):
    texts = [f"t{n}" for n in range(16)]
    texts[5] = "bad"
    async with provider(taken) as (url, asked):
        verdicts = await wire.send(pinpoint(url), [message(n, text) for n, text in enumerate(texts)], now_us())
    outcomes = [one.outcome for one in verdicts]
    assert outcomes.count(SendOutcome.ACCEPTED) == 15
    assert outcomes[5] is SendOutcome.REJECTED
    assert len(asked) <= 9
    # No message was sent twice.
    served = [a for one in asked if taken(one)[0] == 200 for a in json.loads(one.body)["Addresses"]]
    assert len(served) == len(set(served)) == 15


async def test_what_calls_came_to_stands_when_a_later_one_breaks(wire, outbound):
    """The process stops during the second of three calls."""
    second = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))[15:])
        body = await reader.readexactly(length)
        if b"promotional".upper() in body:
            second.set()
            await reader.read()
        else:
            raw = json.dumps(taken(Asked("POST", "/", {}, body))[1]).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(raw), raw))
            await writer.drain()
        writer.close()

    messages = [
        message(1, "a"),
        message(2, "b", purpose="promotional"),
        message(3, "c"),
        message(2, "d", purpose="promotional"),
    ]
    async with listening(serve) as port:
        sending = asyncio.create_task(wire.send(pinpoint(f"http://127.0.0.1:{port}"), messages, now_us()))
        await second.wait()
        await outbound.stop()
        verdicts = await sending
    assert [one.provider_message_id for one in verdicts] == ["id-a", None, "id-c", None]
    assert [(one.outcome.value, one.reason) for one in verdicts[1::2]] == [("unknown", "internal"), ("retry", "unsent")]


async def test_a_call_that_breaks_with_nothing_answered_says_so(wire, outbound):
    await outbound.stop()
    with pytest.raises(Unavailable):
        await wire.send(pinpoint("http://127.0.0.1:1"), [message(1), message(2)], now_us())


BATCHED = """
name = "crm"
label = "CRM"
channel = "event"
base_url = "http://{host}"
path = "/people"
batch_size = 10
[body.people]
"$each" = "messages"
id = "{{{{ message.id }}}}"
who = "{{{{ message.properties.who | replace: 'x', message.properties.many }}}}"
[[answers]]
status = "2xx"
outcome = "accepted"
"""


def crm(url: str) -> Connection:
    return connection(parse_own_connector(BATCHED.format(host=url.removeprefix("http://")), "own"))


def person(number: int, **properties: Any) -> Outgoing:
    content = Content(metric="M", properties={"who": f"p{number}", **properties})
    return message(number, channel="event", content=content)


def people_of(asked: list[Asked]) -> list[list[str]]:
    return [[one["who"] for one in json.loads(call.body)["people"]] for call in asked]


async def test_a_described_call_takes_several_messages_and_one_verdict_is_for_all(wire):
    async with provider(lambda asked: (202, {})) as (url, asked):
        verdicts = await wire.send(crm(url), [person(n) for n in range(1, 11)], now_us())
    assert [(one.outcome, one.provider_message_id) for one in verdicts] == [(SendOutcome.ACCEPTED, None)] * 10
    assert people_of(asked) == [[f"p{n}" for n in range(1, 11)]]


async def test_one_message_that_is_refused_spoils_the_call_of_nobody_else(wire):
    def answer(asked: Asked) -> tuple[int, Any]:
        return (422, {"error": "p3 is bad"}) if b'"p3"' in asked.body else (200, {})

    async with provider(answer) as (url, asked):
        verdicts = await wire.send(crm(url), [person(n) for n in range(1, 6)], now_us())
    accepted, rejected = SendOutcome.ACCEPTED, SendOutcome.REJECTED
    assert [one.outcome for one in verdicts] == [accepted, accepted, rejected, accepted, accepted]
    # Nobody who was taken is sent again.
    taken = [who for call in asked if b'"p3"' not in call.body for who in people_of([call])[0]]
    assert sorted(taken) == ["p1", "p2", "p4", "p5"]


async def test_one_message_that_cannot_be_built_spoils_the_call_of_nobody_else(wire):
    big = person(2, who="x" * 2000, many="y" * 2000)
    async with provider(lambda asked: (200, {})) as (url, asked):
        verdicts = await wire.send(crm(url), [person(1), big, person(3)], now_us())
    assert [one.outcome for one in verdicts] == [SendOutcome.ACCEPTED, SendOutcome.REJECTED, SendOutcome.ACCEPTED]
    assert verdicts[1].reason == "cannot_render"
    assert sorted(who for part in people_of(asked) for who in part) == ["p1", "p3"]


async def test_a_call_whose_end_is_not_known_is_not_divided(wire):
    async with provider(lambda asked: (500, {})) as (url, asked):
        verdicts = await wire.send(crm(url), [person(n) for n in range(1, 4)], now_us())
    assert [one.outcome for one in verdicts] == [SendOutcome.UNKNOWN] * 3
    assert len(asked) == 1


async def test_more_than_a_call_takes_is_a_mistake(wire):
    with pytest.raises(ValueError, match="101 messages"):
        await wire.send(pinpoint("http://127.0.0.1:1"), [message(n) for n in range(101)], now_us())
    assert await wire.send(pinpoint("http://127.0.0.1:1"), [], now_us()) == []
