"""Judge the AWS responses about event streams, configuration sets and Firehose streams in a setup check."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from waypost.domain.providers.setup_checks import (
    END_USER_MESSAGING,
    PINPOINT,
    CallResult,
    Check,
    ReceiptSource,
    Result,
    describe_call,
    failed,
    is_denied,
    is_temporary,
    judge_account,
    passed,
    refused,
    succeeded,
    unverified,
)

#: The longest recommended buffer interval of Firehose. AWS allows 900 s; its default is 300 s.
ADVISED_BUFFERING_S = 60
#: The text message events of a configuration set (source: the model of End User Messaging in botocore). TEXT_SENT is
#: in the model too, but AWS does not send it.
TEXT_EVENTS = frozenset(
    {
        "TEXT_PENDING",
        "TEXT_QUEUED",
        "TEXT_SUCCESSFUL",
        "TEXT_DELIVERED",
        "TEXT_INVALID",
        "TEXT_INVALID_MESSAGE",
        "TEXT_UNREACHABLE",
        "TEXT_CARRIER_UNREACHABLE",
        "TEXT_BLOCKED",
        "TEXT_CARRIER_BLOCKED",
        "TEXT_SPAM",
        "TEXT_UNKNOWN",
        "TEXT_TTL_EXPIRED",
        "TEXT_PROTECT_BLOCKED",
    }
)

_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):(?P<service>[a-z]+):(?P<region>[a-z0-9-]+):(?P<account>[0-9]{1,20}):"
    r"(?P<kind>deliverystream|stream)/(?P<name>[A-Za-z0-9_.-]{1,128})\Z"
)
_USER = re.compile(r"//[^/]*@")


class DeliveryStream(msgspec.Struct, frozen=True):
    """A Firehose delivery stream, parsed from its ARN."""

    region: str
    account_id: str
    name: str
    arn: str


def parse_stream_arn(arn: object) -> DeliveryStream | None:
    """Return the delivery stream of an ARN, or None for anything else, such as a Kinesis data stream."""
    match = _ARN.match(arn) if isinstance(arn, str) else None
    if match is None or match["service"] != "firehose" or match["kind"] != "deliverystream":
        return None
    return DeliveryStream(match["region"], match["account"], match["name"], match[0])


def judge_event_stream(result: CallResult, region: str, call: str) -> Check | DeliveryStream:
    """Judge GetEventStream: return the stream that the project is linked to, or the failed check."""
    name = "event_stream"
    bad = judge_account(PINPOINT, result, name, call)
    if bad is not None:
        return bad
    if result.body is None:
        return unverified(name, call, "the response was not JSON")
    return _linked(PINPOINT, result.body.get("DestinationStreamArn"), region, name, call)


def judge_missing_stream(app: CallResult, stream_call: str, app_call: str) -> Check:
    """Judge a 404 of GetEventStream by the response of GetApp: there is no such project, or it has no stream.

    The IAM policy of the connection allows GetEventStream for one region only: a wrong region then gives 403, and a
    404 is about the stream, whether or not GetApp is allowed.
    """
    if app.status == 404:
        return failed(
            PINPOINT, 2001, "project", app_call, f"no such project in this region ({describe_call(app)})", app.error
        )
    if succeeded(app) or app.status in (401, 403) or is_denied(app):
        return failed(PINPOINT, 2002, "event_stream", stream_call, "the project has no event stream", app.error)
    return unverified("project", app_call, describe_call(app), app.error)


def judge_configuration_set(
    result: CallResult, expected: str, region: str, call: str
) -> Check | list[tuple[DeliveryStream, Check]]:
    """Judge DescribeConfigurationSets: return the streams to which the set sends text events, or the failed check."""
    name = "configuration_set"
    if result.error == "ResourceNotFoundException":
        return failed(END_USER_MESSAGING, 2002, name, call, f"there is no configuration set {expected!r}", result.error)
    bad = judge_account(END_USER_MESSAGING, result, name, call)
    if bad is not None:
        return bad
    if result.body is None:
        return unverified(name, call, "the response was not JSON")
    sets = _objects(result.body.get("ConfigurationSets"))
    found = next(
        (one for one in sets if expected in (one.get("ConfigurationSetName"), one.get("ConfigurationSetArn"))), None
    )
    if found is None:
        return failed(END_USER_MESSAGING, 2002, name, call, f"there is no configuration set {expected!r}")
    streams: list[tuple[DeliveryStream, Check]] = []
    wrong: Check | None = None
    for destination in _objects(found.get("EventDestinations")):
        firehose = destination.get("KinesisFirehoseDestination")
        missing = _missing_events(destination.get("MatchingEventTypes"))
        if not isinstance(firehose, dict) or destination.get("Enabled") is not True or missing is None:
            continue
        linked = _linked(END_USER_MESSAGING, firehose.get("DeliveryStreamArn"), region, name, call)
        if isinstance(linked, Check):
            wrong = wrong or linked
            continue
        streams.append((linked, _events_check(missing, linked, name, call)))
    if streams:
        return streams
    return wrong or failed(
        END_USER_MESSAGING,
        2002,
        name,
        call,
        "the configuration set has no enabled event destination that sends text events to Firehose",
    )


def _linked(source: ReceiptSource, arn: object, region: str, name: str, call: str) -> Check | DeliveryStream:
    stream = parse_stream_arn(arn)
    if stream is None:
        seen = f"{arn[:200]!r} is" if isinstance(arn, str) else "the value is"
        return failed(source, 2002, name, call, f"{seen} not the ARN of a Firehose delivery stream")
    if stream.region != region:
        return failed(source, 2001, name, call, f"the stream is in {stream.region}, the connection in {region}")
    return stream


def _missing_events(types: object) -> list[str] | None:
    """Return the text events that a destination leaves out, or None if it receives none at all."""
    selected = {one for one in types if isinstance(one, str)} if isinstance(types, list) else set()
    if selected & {"ALL", "TEXT_ALL"}:
        return []
    return sorted(TEXT_EVENTS - selected) if TEXT_EVENTS & selected else None


def _events_check(missing: list[str], stream: DeliveryStream, name: str, call: str) -> Check:
    if not missing:
        return passed(name, call, f"sends its text events to {stream.name}")
    return Check(
        name=name,
        call=call,
        result=Result.WARNING,
        meaning="Some text events are not sent, so some messages will never get a final status.",
        resolution=("Select TEXT_ALL in the event destination.",),
        detail=f"missing: {', '.join(missing)}",
    )


def judge_listing(
    source: ReceiptSource,
    stream: DeliveryStream,
    names: Iterable[str],
    complete: bool,
    refusal: CallResult,
    call: str,
    list_call: str,
) -> Check:
    """Judge a refused DescribeDeliveryStream by whether the stream is in the list of streams."""
    if complete and stream.name not in names:
        return failed(source, 2003, "stream", list_call, f"there is no stream {stream.name!r} in {stream.region}")
    return refused(
        "stream",
        call,
        "The keys of this connection may not describe the Kinesis Firehose Data Stream.",
        (
            f"Allow {call} and {list_call} to the IAM user; the connection's IAM policy has both.",
            "Attempt the configuration again.",
        ),
        refusal,
    )


def judge_stream(
    source: ReceiptSource, result: CallResult, stream: DeliveryStream, call: str
) -> Check | dict[str, Any]:
    """Judge DescribeDeliveryStream: return the description of the stream, or the failed check."""
    name = "stream"
    if result.error == "ResourceNotFoundException" or (result.status == 404 and result.error is None):
        return failed(source, 2003, name, call, f"there is no stream {stream.name!r} in {stream.region}", result.error)
    if not succeeded(result):
        if result.status is None or is_temporary(result):
            return unverified(name, call, describe_call(result), result.error)
        return failed(source, 2001, name, call, describe_call(result), result.error)
    found = (result.body or {}).get("DeliveryStreamDescription")
    if not isinstance(found, dict):
        return unverified(name, call, "the response contains no description of a stream")
    described = parse_stream_arn(found.get("DeliveryStreamARN"))
    if described is not None and described.account_id != stream.account_id:
        return failed(
            source,
            2003,
            name,
            call,
            f"the linked stream belongs to the AWS account {stream.account_id}; the keys of this connection belong to "
            f"{described.account_id}, which has another stream of that name",
        )
    return found


def judge_description(
    source: ReceiptSource, description: Mapping[str, Any], tracker_url: str, call: str
) -> list[Check]:
    """Check that a stream is active and delivers to the tracker URL. Return the steps up to the first that failed."""
    status = description.get("DeliveryStreamStatus")
    if status != "ACTIVE":
        return [failed(source, 2004, "status", call, f"its status is {str(status)[:100]}")]
    checks = [passed("status", call)]
    endpoints = [
        found
        for destination in _objects(description.get("Destinations"))
        if isinstance(found := destination.get("HttpEndpointDestinationDescription"), dict)
    ]
    if not endpoints:
        return [*checks, failed(source, 2005, "destination", call, "the stream has no HTTP endpoint destination")]
    checks.append(passed("destination", call))
    fitting = [found for found in endpoints if same_url(_url(found), tracker_url)]
    if not fitting:
        seen = _displayed(_url(endpoints[0]))
        return [*checks, failed(source, 2006, "tracker_url", call, f"it is {seen}; it should be {tracker_url}")]
    checks.append(passed("tracker_url", call))
    checks.extend(_buffering(fitting[0], call))
    return checks


def _buffering(endpoint: Mapping[str, Any], call: str) -> list[Check]:
    hints = endpoint.get("BufferingHints")
    seconds = hints.get("IntervalInSeconds") if isinstance(hints, dict) else None
    if not isinstance(seconds, int) or seconds <= ADVISED_BUFFERING_S:
        return []
    return [
        Check(
            name="buffering",
            call=call,
            result=Result.WARNING,
            meaning=f"Receipts arrive up to {seconds} seconds late, since the stream buffers them that long.",
            resolution=(f"Set the buffer interval of its HTTP destination to {ADVISED_BUFFERING_S} seconds or less.",),
        )
    ]


def same_url(left: str, right: str) -> bool:
    """Return whether Firehose would call the same endpoint for both URLs.

    Scheme and host may differ in case, and the default port may be left out. Path and query must be identical, a
    trailing slash included, since Firehose follows no redirect.
    """
    first = _place(left)
    return first is not None and first == _place(right)


def _place(url: str) -> tuple[object, ...] | None:
    if not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    if usual is None or not host:
        return None
    # A fragment is never sent, a missing path is sent as "/", and a question mark is sent even with an empty query.
    has_query = "?" in url.partition("#")[0]
    return parts.scheme, parts.username, parts.password, host, port or usual, parts.path or "/", parts.query, has_query


def _url(endpoint: Mapping[str, Any]) -> str:
    configuration = endpoint.get("EndpointConfiguration")
    url = configuration.get("Url") if isinstance(configuration, dict) else None
    return url if isinstance(url, str) else ""


def _displayed(url: str) -> str:
    """Return a URL for display, without its user and password, at most 300 characters."""
    return repr(_USER.sub("//", url, count=1)[:300]) if url else "not set"


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
