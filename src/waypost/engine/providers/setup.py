"""Check with the provider that a connection can send messages and gets receipts."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import msgspec

from waypost.domain.providers.aws.receipt_stream import (
    DeliveryStream,
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
    CallResult,
    Check,
    ReceiptSource,
    Report,
    describe_call,
    failed,
    is_denied,
    is_temporary,
    passed,
    refused,
    succeeded,
    unverified,
)
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import READ_BODY, Request
from waypost.engine.providers.drivers import aws

#: The most tries of one call whose result is temporary.
TRIES = 3
#: Seconds before the second try; doubled before the third.
PAUSE_S = 0.4
#: The most pages of a thousand stream names that are read.
MOST_PAGES = 20
#: The most event destinations of a configuration set (the limit of AWS).
MOST_STREAMS = 5


class _Run(msgspec.Struct):
    """One run of the checks: its inputs and its results so far."""

    outbound: Outbound
    connector: Connector
    config: dict[str, Any]
    tracker_url: str
    now: int
    pause_s: float
    checks: list[Check] = []
    stream: DeliveryStream | None = None

    async def call(self, target: aws.Target, body: dict[str, Any] | None = None, *path: str) -> CallResult:
        """Call AWS and return the result; retry if it is temporary."""
        caller = self.tracker_url
        return await self.retry(
            lambda: aws.call(self.outbound, target, self.config, self.now, body, *path, caller=caller)
        )

    async def fetch(self, url: str, authorization: str) -> CallResult:
        """Send a GET with this Authorization header and return the result; retry if it is temporary."""
        lines = [f"Authorization: {authorization}", "Accept: application/json", aws.NO_CONTENT_TYPE]
        request = Request(url, b"", lines, aws.CALL_TIMEOUT_MS, method="GET", keep=READ_BODY)

        async def get() -> CallResult:
            response, _ = await self.outbound.fetch(request)
            return aws.read_call_result(response)

        return await self.retry(get)

    async def retry(self, make: Callable[[], Awaitable[CallResult]]) -> CallResult:
        """Return the first result that is not temporary, or the last one."""
        called = await make()
        for number in range(TRIES - 1):
            if not is_temporary(called):
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
    """Run the checks of a connector in order, up to the first failure, and report every step.

    `config` has every field of the connector, with secrets decrypted; `tracker_url` is the required destination of
    Firehose. No response of a provider raises an error; raises Unavailable if this process is shutting down.
    """
    run = _Run(outbound, connector, config, tracker_url, now, pause_s)
    for name in connector.checks:
        steps = _STEPS.get(name)
        if steps is None:
            run.checks.append(unverified(name, "", f"this version of Waypost has no check named {name!r}"))
            break
        run.checks.extend(await steps(run))
        if not all(check.ok for check in run.checks):
            break
    stream = run.stream
    return Report(
        checks=tuple(run.checks),
        account_id=stream.account_id if stream else None,
        stream=stream.name if stream else None,
    )


async def _check_pinpoint(run: _Run) -> list[Check]:
    call = aws.GET_EVENT_STREAM.name
    bad = _check_region(PINPOINT, run.config, call)
    if bad is not None:
        return [bad]
    region, project = run.config["region"], str(run.config["project_id"])
    called = await run.call(aws.GET_EVENT_STREAM, None, project)
    if called.status == 404:
        app = await run.call(aws.GET_APP, None, project)
        return [judge_missing_stream(app, call, aws.GET_APP.name)]
    found = judge_event_stream(called, region, call)
    if isinstance(found, Check):
        return [found]
    run.stream = found
    return [passed("event_stream", call, f"linked to {found.name}"), *await _check_stream(run, PINPOINT, found)]


async def _check_end_user_messaging(run: _Run) -> list[Check]:
    call = aws.DESCRIBE_CONFIGURATION_SETS.name
    bad = _check_region(END_USER_MESSAGING, run.config, call)
    if bad is not None:
        return [bad]
    expected = str(run.config.get("configuration_set") or "")
    if not expected:
        detail = "no configuration set is given; without one AWS sends no receipts"
        return [failed(END_USER_MESSAGING, 2002, "configuration_set", call, detail)]
    called = await run.call(aws.DESCRIBE_CONFIGURATION_SETS, {"ConfigurationSetNames": [expected]})
    found = judge_configuration_set(called, expected, run.config["region"], call)
    if isinstance(found, Check):
        return [found]
    first: list[Check] = []
    # One destination that sends its events here is enough; the others may have other purposes.
    for stream, check in found[:MOST_STREAMS]:
        checks = [check, *await _check_stream(run, END_USER_MESSAGING, stream)]
        if not first or all(step.ok for step in checks):
            first, run.stream = checks, stream
        if all(step.ok for step in checks):
            break
    return first


def _check_region(source: ReceiptSource, config: dict[str, Any], call: str) -> Check | None:
    region = str(config.get("region") or "")
    if aws.well_formed(region):
        return None
    detail = f"{region[:60]!r} is not the name of an AWS region, such as us-east-1"
    return failed(source, 2001, "region", call, detail, "InvalidRegionError")


async def _check_stream(run: _Run, source: ReceiptSource, stream: DeliveryStream) -> list[Check]:
    """Check a stream, from its existence to the URL to which it sends."""
    call = aws.DESCRIBE_STREAM.name
    called = await run.call(aws.DESCRIBE_STREAM, {"DeliveryStreamName": stream.name})
    if is_denied(called):
        return [await _find_in_list(run, source, stream, called)]
    found = judge_stream(source, called, stream, call)
    if isinstance(found, Check):
        return [found]
    return [passed("stream", call), *judge_description(source, found, run.tracker_url, call)]


async def _find_in_list(run: _Run, source: ReceiptSource, stream: DeliveryStream, refusal: CallResult) -> Check:
    """Check by the list of streams whether a stream exists that the credentials cannot describe."""
    names: list[str] = []
    complete = False
    for _ in range(MOST_PAGES):
        body: dict[str, Any] = {"Limit": 1000}
        if names:
            body["ExclusiveStartDeliveryStreamName"] = names[-1]
        called = await run.call(aws.LIST_STREAMS, body)
        page = (called.body or {}).get("DeliveryStreamNames") if succeeded(called) else None
        if not isinstance(page, list):
            break
        more = [name for name in page if isinstance(name, str)]
        names += more
        if not more or (called.body or {}).get("HasMoreDeliveryStreams") is not True:
            complete = True
            break
    return judge_listing(source, stream, names, complete, refusal, aws.DESCRIBE_STREAM.name, aws.LIST_STREAMS.name)


async def _check_sendgrid(run: _Run) -> list[Check]:
    call = "GET /v3/scopes"
    called = await run.fetch(f"{_own_url(run)}/v3/scopes", f"Bearer {run.config.get('api_key', '')}")
    if called.status in (401, 403):
        steps = (
            "Create an API key with the permission Mail Send in SendGrid under Settings > API Keys, and enter it here.",
        )
        return [refused("key", call, "SendGrid refuses this API key: it is not valid or was revoked.", steps, called)]
    scopes = (called.body or {}).get("scopes")
    if not succeeded(called) or not isinstance(scopes, list):
        return [unverified("key", call, describe_call(called), called.error)]
    if "mail.send" not in scopes:
        steps = ("Give the API key full access to Mail Send, or create one that has it.",)
        return [passed("key", call), refused("mail_send", call, "The API key cannot send email.", steps)]
    return [passed("key", call), passed("mail_send", call)]


async def _check_twilio(run: _Run) -> list[Check]:
    config = run.config
    sid, key = str(config.get("account_sid") or ""), str(config.get("api_key") or "")
    if key:
        return await _check_twilio_key(run, sid, key)
    call = "GET /2010-04-01/Accounts/{sid}.json"
    path = f"/2010-04-01/Accounts/{quote(sid, safe='')}.json"
    called = await run.fetch(f"{_own_url(run)}{path}", _basic(sid, config.get("auth_token")))
    if called.status in (401, 403, 404):
        steps = ("Copy the Account SID and the Auth Token from the Twilio Console, and enter both here.",)
        return [refused("account", call, "Twilio refuses this account or its token.", steps, called)]
    if not succeeded(called) or called.body is None:
        return [unverified("account", call, describe_call(called), called.error)]
    status = str(called.body.get("status") or "active")[:60]
    if status != "active":
        steps = ("Find out in the Twilio Console why the account is not active.",)
        return [passed("account", call), refused("status", call, f"The Twilio account is {status}.", steps)]
    return [passed("account", call), passed("status", call)]


async def _check_twilio_key(run: _Run, sid: str, key: str) -> list[Check]:
    """Check an API key with a list of messages, because API keys cannot read the account."""
    call = "GET /2010-04-01/Accounts/{sid}/Messages.json"
    path = f"/2010-04-01/Accounts/{quote(sid, safe='')}/Messages.json?PageSize=1"
    called = await run.fetch(f"{_own_url(run)}{path}", _basic(key, run.config.get("api_secret")))
    if called.status in (401, 404):
        steps = ("Create an API key in the Twilio Console, and enter its SID, its secret and the Account SID here.",)
        return [refused("key", call, "Twilio refuses this API key for this account.", steps, called)]
    if not succeeded(called):
        # A restricted key can send messages without the permission to read them.
        return [unverified("key", call, describe_call(called), called.error)]
    return [passed("key", call)]


def _basic(user: str, password: object) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password or ''}".encode()).decode()


def _own_url(run: _Run) -> str:
    """Return the base URL of the connection's calls, without a trailing slash."""
    connector = run.connector
    own = run.config.get(connector.base_url_field) if connector.base_url_field else None
    return str(own or connector.base_url).rstrip("/")


_STEPS: dict[str, Callable[[_Run], Awaitable[list[Check]]]] = {
    "pinpoint": _check_pinpoint,
    "end_user_messaging": _check_end_user_messaging,
    "sendgrid": _check_sendgrid,
    "twilio": _check_twilio,
}

#: The names of checks that connectors can use.
CHECKS = frozenset(_STEPS)
