"""Send an example webhook to an endpoint now and show the response. Nothing is recorded."""

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from waypost.clock import first_id
from waypost.domain.events.event_types import SYSTEM_TYPES, EventType, describe
from waypost.domain.webhooks.delivery import AttemptOutcome, judge
from waypost.domain.webhooks.endpoint import Endpoint, event_object, webhook_body
from waypost.domain.webhooks.event_patterns import pattern_match
from waypost.domain.webhooks.payload_format import PayloadFormat
from waypost.engine.net.curl_transfer import USER_AGENT
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import Response
from waypost.engine.webhooks.attempts import explain
from waypost.engine.webhooks.endpoints import WebhookRecord
from waypost.engine.webhooks.lane import Task
from waypost.engine.webhooks.requests import FindConnection, NotReady, NotWritable, build_request
from waypost.errors import Conflict, Invalid
from waypost.storage.database import Tx

_TYPE = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*\Z")
#: Headers that contain the key of a connection.
_KEYS = frozenset({"authorization"})
_encode = msgspec.json.Encoder().encode


class ProbeResult(msgspec.Struct, frozen=True):
    """The request of a test webhook and its response."""

    method: str
    url: str
    #: In the order in which they were sent, the values of custom headers included.
    headers: list[tuple[str, str]]
    #: The names, in lower case, of those among them whose values are secrets.
    custom: frozenset[str]
    body: bytes
    response: Response
    error: str | None
    timings: dict[str, float]


async def choose_type(tx: Tx, webhook: WebhookRecord, name: str | None) -> EventType:
    """Return the event type to send: the named one, or the first that the endpoint subscribes to."""
    if name is None:
        exact = [pattern for pattern in webhook.event_types if "*" not in pattern]
        wants = pattern_match(webhook.event_types)
        fitting = [entry.type for entry in SYSTEM_TYPES if wants(entry.type)]
        name = next(iter(exact + (["event.order_shipped"] if wants("event.order_shipped") else []) + fitting), None)
    if name is None:
        name = webhook.event_types[0].replace("*", "example")
    if len(name) > 256 or not _TYPE.match(name):
        raise Invalid(
            f"{name[:80]!r} is not an event type; name one without *, such as event.order_shipped.",
            code="invalid_event_type",
        )
    row = await tx.row("event_types.get", workspace_id=webhook.workspace_id, type=name)
    return describe(name, row[0] if row else None)


async def send_probe(
    outbound: Outbound,
    webhook: WebhookRecord,
    payload: PayloadFormat | None,
    entry: EventType,
    now: int,
    find: FindConnection,
) -> ProbeResult:
    """Send an example of an event type as a delivery would be sent, and wait for the response.

    `payload` is the format of the endpoint, if it is made of data. Raise Conflict if its format or connection is gone,
    Invalid if its format does not fit the event type.
    """
    endpoint = Endpoint(
        id=webhook.id,
        workspace_id=webhook.workspace_id,
        url=webhook.url,
        event_types=webhook.event_types,
        filter=webhook.filter,
        headers=tuple(f"{name}: {value}" for name, value in webhook.headers.items()),
        rate_limit=webhook.rate_limit,
        concurrency=webhook.concurrency,
        timeout_ms=webhook.timeout_ms,
        format=webhook.format,
        secrets=webhook.secrets,
        version=webhook.version,
        connection_id=webhook.connection_id,
        payload=payload,
        user_id=webhook.user_id,
        user_name=webhook.user_name,
    )
    # Contains no node id, so that it is never the id of a stored event.
    event_id = first_id(now)
    data: dict[str, Any] = entry.example["data"]
    contents = {name: value for name, value in data.items() if name not in ("id", "message_id", "profile_id")}
    body = webhook_body(entry.type, now, event_object(event_id, "test-message", None, _encode(contents)))
    try:
        request = build_request(endpoint, [Task(endpoint, event_id, body, 0, 0)], now, find)
    except NotReady as failure:
        raise Conflict(f"The test event cannot be sent: {failure}.", code="connection_missing") from failure
    except NotWritable as failure:
        raise Invalid(f"The test event cannot be written: {failure}.", code="invalid_event_type") from failure
    response, timings = await outbound.fetch(request)
    error = None if judge(response.status) is AttemptOutcome.DELIVERED else explain(response)
    custom = frozenset(name.lower() for name in webhook.headers) | _KEYS
    sent = _sent(request.url, request.headers, request.body)
    return ProbeResult("POST", request.url, sent, custom, request.body, response, error, timings)


def _sent(url: str, lines: list[str], body: bytes) -> list[tuple[str, str]]:
    """Return all headers of the request, those that libcurl adds included."""
    pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    given = {name.lower() for name, _ in pairs}
    added = [
        ("host", urlsplit(url).netloc),
        ("user-agent", USER_AGENT),
        ("accept", "*/*"),
        ("accept-encoding", "gzip, deflate"),
        ("content-length", str(len(body))),
    ]
    # libcurl does not send a header without a value, its own included.
    return [pair for pair in added if pair[0] not in given] + [pair for pair in pairs if pair[1]]
