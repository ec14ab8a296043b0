"""Every shipped connector against the sink's provider: it sends a message, and classifies each refusal."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.engine.conftest import LOOPBACK, Outside
from waypost.clock import now_us
from waypost.domain.messaging.message import Content, Outgoing
from waypost.domain.providers.connection import Connection
from waypost.domain.providers.connection_config import check_config
from waypost.domain.values.egress_guard import parse_networks
from waypost.engine.net.outbound import Outbound
from waypost.engine.providers.connectors import shipped
from waypost.engine.providers.provider_client import ProviderClient

AWS = {
    "region": "eu-west-1",
    "access_key": "AKIAIOSFODNN7EXAMPLE",
    "secret_key": "secret-example",
    "endpoint_url": "{}",
}
CONFIGS: dict[str, dict[str, Any]] = {
    "aws-pinpoint": AWS | {"project_id": "abc"},
    "aws-end-user-messaging": AWS,
    "twilio": {
        "account_sid": "AC" + "0" * 32,
        "auth_token": "tw-secret",
        "from": "+15005550006",
        "host": "{}/twilio",
    },
    "wunderkind": {"client_id": "me", "client_secret": "wk-secret", "host": "{}/wunderkind"},
    "sendgrid": {"api_key": "SG.12345", "from_email": "hello@brand.example", "host": "{}/sendgrid"},
    "klaviyo": {"api_key": "pk_12345", "host": "{}/klaviyo"},
    "smtp": {"host": "127.0.0.1", "security": "none", "from_email": "hello@brand.example"},
}
UNSURE = ("unknown", 9988, "no_answer", None)
BROKEN = ("unknown", 9988, "provider_5xx", None)
LATER = ("retry", 9988, "provider_5xx", None)
THROTTLED = ("retry", 2020, "throttled", None)
STOPPED = ("rejected", 9988, "opted_out", "opted_out")
NO_NUMBER = ("rejected", 2003, "invalid_number", "invalid_number")
REFUSED = ("rejected", 9988, "refused", None)


@pytest.fixture
async def client() -> AsyncIterator[ProviderClient]:
    outbound = Outbound(parse_networks(LOOPBACK))
    yield ProviderClient(outbound, lambda connection: "http://127.0.0.1:9/receipts/con_0000000000000001")
    await outbound.stop()


def connection(name: str, outside: Outside) -> Connection:
    connector = shipped()[name]
    given = {key: value.replace("{}", f"http://127.0.0.1:{outside.port}") for key, value in CONFIGS[name].items()}
    if name == "smtp":
        given["port"] = outside.smtp_port
    return Connection(
        id=1,
        workspace_id=1,
        name=name,
        connector=connector,
        config=check_config(connector, given),
        status="enabled",
        position=0,
        per_second=None,
        concurrency=4,
        validity_s=3600,
        data_center="",
        version=1,
    )


def message(name: str, address: str) -> Outgoing:
    now = now_us()
    contents = {
        "sms": Content(text=f"Hi from {name} to {address}"),
        "email": Content(subject="Hi", text="Hi", html="<p>Hi</p>"),
        "event": Content(metric="Hi", properties={"a": 1}, recipient={"email": address}),
    }
    channel = shipped()[name].channel
    return Outgoing(
        id=now,
        workspace_id=1,
        connection_id=1,
        channel=channel,
        address=address,
        content=contents[channel],
        purpose="transactional",
        created_at=now,
        expires_at=now + 3_600_000_000,
    )


def test_every_provider_is_here():
    # The missing connector has no provider of its own in the sink.
    assert set(CONFIGS) | {"http"} == set(shipped())


@pytest.mark.parametrize("name", sorted(CONFIGS))
async def test_a_message_is_taken(client: ProviderClient, outside: Outside, name: str):
    address = "+447700900123" if shipped()[name].channel == "sms" else "ines@example.test"
    trial = await client.send_test(connection(name, outside), message(name, address), now_us())
    assert trial.verdict.outcome == "accepted", trial
    # Klaviyo responds without a body.
    assert bool(trial.verdict.provider_message_id) == (name != "klaviyo")
    for field in shipped()[name].fields:
        if field.secret:
            assert CONFIGS[name].get(field.name, "not given") not in repr(trial.request)


@pytest.mark.parametrize(
    ("name", "digits", "expected"),
    [
        ("aws-pinpoint", "04", STOPPED),
        ("aws-pinpoint", "05", THROTTLED),
        ("aws-pinpoint", "06", ("retry", 2009, "temporary", None)),
        ("aws-pinpoint", "07", ("rejected", 9988, "unknown", None)),
        ("aws-pinpoint", "09", ("rejected", 2021, "duplicate", None)),
        ("aws-pinpoint", "14", UNSURE),
        ("aws-end-user-messaging", "04", STOPPED),
        ("aws-end-user-messaging", "05", THROTTLED),
        ("aws-end-user-messaging", "06", BROKEN),
        ("aws-end-user-messaging", "10", NO_NUMBER),
        ("aws-end-user-messaging", "14", UNSURE),
        ("twilio", "04", STOPPED),
        ("twilio", "05", THROTTLED),
        ("twilio", "06", BROKEN),
        ("twilio", "07", BROKEN),
        ("twilio", "10", NO_NUMBER),
        ("twilio", "11", ("rejected", 9988, "country_not_enabled", None)),
        ("twilio", "14", UNSURE),
        ("wunderkind", "05", THROTTLED),
        ("wunderkind", "06", BROKEN),
        ("wunderkind", "07", BROKEN),
        ("wunderkind", "09", ("rejected", 2021, "duplicate", None)),
        ("wunderkind", "10", REFUSED),
        ("wunderkind", "14", UNSURE),
    ],
)
async def test_a_number_with_a_fate_gets_its_verdict(
    client: ProviderClient, outside: Outside, name: str, digits: str, expected: tuple[Any, ...]
):
    chosen = connection(name, outside)
    (found,) = await client.send(chosen, [message(name, f"+120255500{digits}")], now_us())
    assert (found.outcome.value, found.code, found.reason, found.suppress) == expected, found


@pytest.mark.parametrize(
    ("name", "fate", "expected"),
    [
        ("sendgrid", "malformed", ("rejected", 2003, "invalid_address", "invalid_address")),
        ("sendgrid", "throttled", THROTTLED),
        ("sendgrid", "temporary", BROKEN),
        ("sendgrid", "unknown_failure", BROKEN),
        ("sendgrid", "lost_answer", UNSURE),
        ("klaviyo", "malformed", REFUSED),
        ("klaviyo", "throttled", THROTTLED),
        ("klaviyo", "temporary", LATER),
        # An event is deduplicated by its id, so it can be sent again.
        ("klaviyo", "unknown_failure", LATER),
        ("klaviyo", "lost_answer", ("retry", 9988, "no_answer", None)),
    ],
)
async def test_an_address_with_a_fate_gets_its_verdict(
    client: ProviderClient, outside: Outside, name: str, fate: str, expected: tuple[Any, ...]
):
    chosen = connection(name, outside)
    (found,) = await client.send(chosen, [message(name, f"fate-{fate}@example.test")], now_us())
    assert (found.outcome.value, found.code, found.reason, found.suppress) == expected, found
