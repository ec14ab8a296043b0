"""Check at the provider that a connection can send messages and that its receipts arrive."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import msgspec

from waypost.domain.providers.aws.receipt_stream import (
    Stream,
    judge_configuration_set,
    judge_description,
    judge_event_stream,
    judge_listing,
    judge_missing_stream,
    judge_stream,
)
from waypost.domain.providers.connector import Connector
from waypost.domain.providers.setup_checks import (
    END_USER_MESSAGING,
    PINPOINT,
    Called,
    Check,
    Report,
    Source,
    denied,
    failed,
    passed,
    passing,
    refused,
    told,
    unverified,
    went_well,
)
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import READ_BODY, Request
from waypost.engine.providers.drivers import aws

#: Tries of one call, the first included, while it fails for a passing reason.
TRIES = 3
#: The pause before the second try; it doubles before the third.
PAUSE_S = 0.4
#: Pages of a thousand names that are read at most.
MOST_PAGES = 20
#: Event destinations of a configuration set, which AWS limits to five.
MOST_STREAMS = 5


class _Inquiry(msgspec.Struct):
    """The inputs and the findings of one check."""

    outbound: Outbound
    connector: Connector
    config: dict[str, Any]
    tracker_url: str
    now: int
    pause_s: float
    checks: list[Check] = []
    stream: Stream | None = None

    async def ask(self, target: aws.Target, body: dict[str, Any] | None = None, *path: str) -> Called:
        """Call AWS; retry failures that may pass."""
        caller = self.tracker_url
        return await self.retried(
            lambda: aws.call(self.outbound, target, self.config, self.now, body, *path, caller=caller)
        )

    async def fetch(self, url: str, authorization: str) -> Called:
        """Send a GET with this Authorization header; retry failures that may pass."""
        lines = [f"Authorization: {authorization}", "Accept: application/json", aws.NO_CONTENT_TYPE]
        request = Request(url, b"", lines, aws.CALL_TIMEOUT_MS, method="GET", keep=READ_BODY)

        async def get() -> Called:
            response, _ = await self.outbound.fetch(request)
            return aws.read_answer(response)

        return await self.retried(get)

    async def retried(self, make: Callable[[], Awaitable[Called]]) -> Called:
        """Return the first conclusive response, or the last one."""
        called = await make()
        for number in range(TRIES - 1):
            if not passing(called):
                break
            await asyncio.sleep(self.pause_s * 2**number)
            called = await make()
        return called


async def check_setup(
    outbound: Outbound,
    connector: Connector,
    config: dict[str, Any],
    tracker_url: str,
    now: int,
    *,
    pause_s: float = PAUSE_S,
) -> Report:
    """Run the steps of the connector's checks in order, up to the first that fails.

    `config` has every field of the connector with decrypted secrets; `tracker_url` is where Firehose must send. Raises
    nothing for what a provider does, and Unavailable when this process stops.
    """
    inquiry = _Inquiry(outbound, connector, config, tracker_url, now, pause_s)
    for name in connector.checks:
        steps = _STEPS.get(name)
        if steps is None:
            inquiry.checks.append(unverified(name, "", f"this version of Waypost knows no check named {name!r}"))
            break
        inquiry.checks.extend(await steps(inquiry))
        if not all(check.ok for check in inquiry.checks):
            break
    stream = inquiry.stream
    return Report(
        checks=tuple(inquiry.checks),
        account_id=stream.account_id if stream else None,
        stream=stream.name if stream else None,
    )


async def _check_pinpoint(inquiry: _Inquiry) -> list[Check]:
    call = aws.GET_EVENT_STREAM.name
    bad = _check_region(PINPOINT, inquiry.config, call)
    if bad is not None:
        return [bad]
    region, project = inquiry.config["region"], str(inquiry.config["project_id"])
    called = await inquiry.ask(aws.GET_EVENT_STREAM, None, project)
    if called.status == 404:
        app = await inquiry.ask(aws.GET_APP, None, project)
        return [judge_missing_stream(app, call, aws.GET_APP.name)]
    found = judge_event_stream(called, region, call)
    if isinstance(found, Check):
        return [found]
    inquiry.stream = found
    return [passed("event_stream", call, f"linked to {found.name}"), *await _check_stream(inquiry, PINPOINT, found)]


async def _check_end_user_messaging(inquiry: _Inquiry) -> list[Check]:
    call = aws.DESCRIBE_CONFIGURATION_SETS.name
    bad = _check_region(END_USER_MESSAGING, inquiry.config, call)
    if bad is not None:
        return [bad]
    wanted = str(inquiry.config.get("configuration_set") or "")
    if not wanted:
        detail = "no configuration set is given; without one AWS sends no receipts at all"
        return [failed(END_USER_MESSAGING, 2002, "configuration_set", call, detail)]
    called = await inquiry.ask(aws.DESCRIBE_CONFIGURATION_SETS, {"ConfigurationSetNames": [wanted]})
    found = judge_configuration_set(called, wanted, inquiry.config["region"], call)
    if isinstance(found, Check):
        return [found]
    first: list[Check] = []
    # One destination that sends its events here is enough.
    for stream, check in found[:MOST_STREAMS]:
        checks = [check, *await _check_stream(inquiry, END_USER_MESSAGING, stream)]
        if not first or all(step.ok for step in checks):
            first, inquiry.stream = checks, stream
        if all(step.ok for step in checks):
            break
    return first


def _check_region(source: Source, config: dict[str, Any], call: str) -> Check | None:
    region = str(config.get("region") or "")
    if aws.well_formed(region):
        return None
    detail = f"{region[:60]!r} is not the name of an AWS region; one looks like us-east-1"
    return failed(source, 2001, "region", call, detail, "InvalidRegionError")


async def _check_stream(inquiry: _Inquiry, source: Source, stream: Stream) -> list[Check]:
    """Check a stream, from its name to the URL that it sends to."""
    call = aws.DESCRIBE_STREAM.name
    called = await inquiry.ask(aws.DESCRIBE_STREAM, {"DeliveryStreamName": stream.name})
    if denied(called):
        return [await _look_in_list(inquiry, source, stream, called)]
    found = judge_stream(source, called, stream, call)
    if isinstance(found, Check):
        return [found]
    return [passed("stream", call), *judge_description(source, found, inquiry.tracker_url, call)]


async def _look_in_list(inquiry: _Inquiry, source: Source, stream: Stream, refusal: Called) -> Check:
    """Look in the list of streams for one that the key may not describe."""
    names: list[str] = []
    complete = False
    for _ in range(MOST_PAGES):
        asked: dict[str, Any] = {"Limit": 1000}
        if names:
            asked["ExclusiveStartDeliveryStreamName"] = names[-1]
        called = await inquiry.ask(aws.LIST_STREAMS, asked)
        page = (called.body or {}).get("DeliveryStreamNames") if went_well(called) else None
        if not isinstance(page, list):
            break
        more = [name for name in page if isinstance(name, str)]
        names += more
        if not more or (called.body or {}).get("HasMoreDeliveryStreams") is not True:
            complete = True
            break
    return judge_listing(source, stream, names, complete, refusal, aws.DESCRIBE_STREAM.name, aws.LIST_STREAMS.name)


async def _check_sendgrid(inquiry: _Inquiry) -> list[Check]:
    call = "GET /v3/scopes"
    called = await inquiry.fetch(f"{_own_url(inquiry)}/v3/scopes", f"Bearer {inquiry.config.get('api_key', '')}")
    if called.status in (401, 403):
        steps = (
            "Make an API key with the right to send mail in SendGrid under Settings > API Keys, and enter it here.",
        )
        return [refused("key", call, "SendGrid does not know this API key, or it was revoked.", steps, called)]
    scopes = (called.body or {}).get("scopes")
    if not went_well(called) or not isinstance(scopes, list):
        return [unverified("key", call, told(called), called.error)]
    if "mail.send" not in scopes:
        steps = ("Give the API key full access to Mail Send, or make one that has it.",)
        return [passed("key", call), refused("mail_send", call, "The API key may not send mail.", steps)]
    return [passed("key", call), passed("mail_send", call)]


async def _check_twilio(inquiry: _Inquiry) -> list[Check]:
    config = inquiry.config
    sid, key = str(config.get("account_sid") or ""), str(config.get("api_key") or "")
    if key:
        return await _check_twilio_key(inquiry, sid, key)
    call = "GET /2010-04-01/Accounts/{sid}.json"
    path = f"/2010-04-01/Accounts/{quote(sid, safe='')}.json"
    called = await inquiry.fetch(f"{_own_url(inquiry)}{path}", _basic(sid, config.get("auth_token")))
    if called.status in (401, 403, 404):
        steps = ("Copy the Account SID and the Auth Token from the Twilio Console, and enter both here.",)
        return [refused("account", call, "Twilio does not know this account, or refuses its token.", steps, called)]
    if not went_well(called) or called.body is None:
        return [unverified("account", call, told(called), called.error)]
    status = str(called.body.get("status") or "active")[:60]
    if status != "active":
        steps = ("Open the Twilio Console and see why the account is not active.",)
        return [passed("account", call), refused("status", call, f"The Twilio account is {status}.", steps)]
    return [passed("account", call), passed("status", call)]


async def _check_twilio_key(inquiry: _Inquiry, sid: str, key: str) -> list[Check]:
    """Check an API key with another request, because it may not read the account."""
    call = "GET /2010-04-01/Accounts/{sid}/Messages.json"
    path = f"/2010-04-01/Accounts/{quote(sid, safe='')}/Messages.json?PageSize=1"
    called = await inquiry.fetch(f"{_own_url(inquiry)}{path}", _basic(key, inquiry.config.get("api_secret")))
    if called.status in (401, 404):
        steps = ("Make an API key in the Twilio Console, and enter its SID, its secret and the Account SID here.",)
        return [refused("key", call, "Twilio does not know this API key, or not for this account.", steps, called)]
    if not went_well(called):
        # A restricted key may be allowed to send and not to read.
        return [unverified("key", call, told(called), called.error)]
    return [passed("key", call)]


def _basic(user: str, password: object) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password or ''}".encode()).decode()


def _own_url(inquiry: _Inquiry) -> str:
    """Return the base URL of the connection, without a trailing slash."""
    connector = inquiry.connector
    own = inquiry.config.get(connector.base_url_field) if connector.base_url_field else None
    return str(own or connector.base_url).rstrip("/")


_STEPS: dict[str, Callable[[_Inquiry], Awaitable[list[Check]]]] = {
    "pinpoint": _check_pinpoint,
    "end_user_messaging": _check_end_user_messaging,
    "sendgrid": _check_sendgrid,
    "twilio": _check_twilio,
}

#: The names of the checks that connectors can use.
CHECKS = frozenset(_STEPS)
