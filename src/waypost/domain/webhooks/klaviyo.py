"""The statuses of texts as events of Klaviyo: one by Create Event, several by Bulk Create Events.

Source: Klaviyo's API reference, revision 2026-07-15. Without `unique_id`, events of one profile and metric within one
second count as one; with it, an event that is sent again is not kept twice.
"""

from typing import Any

import msgspec
from msgspec import Raw

FORMAT = "klaviyo"
#: The paths below the base URL of the connection.
EVENTS, JOBS = "/api/events", "/api/event-bulk-create-jobs"
#: Events in one bulk request, and bytes of their webhook bodies; the limits are 1000 events and 5 MB.
MOST_EVENTS, MOST_BYTES = 1000, 4_000_000
#: As many waiting events are worth a bulk request.
WORTH_BULK = 20
#: Single requests per second (3500 a minute), and how many of them a bulk request counts as (150 a minute).
PER_SECOND, BULK_COST = 58.0, 24.0
MEDIA_TYPE = "application/vnd.api+json"

_encode = msgspec.json.Encoder().encode


class _TextStatusData(msgspec.Struct, kw_only=True):
    """The data of a `text.status` event. The values of `callbackData` are passed on byte for byte."""

    message_id: str = msgspec.field(name="MessageID")
    status: str = msgspec.field(name="Status")
    metric_name: str = msgspec.field(name="metricName")
    callback_data: dict[str, Raw] = msgspec.field(name="callbackData")
    code: int | None = None
    reason: str | None = None


class _TextStatusBody(msgspec.Struct):
    """The webhook body of a `text.status` event."""

    timestamp: str
    data: _TextStatusData


_decode = msgspec.json.Decoder(_TextStatusBody).decode


def create_event(body: bytes) -> bytes:
    """Return the body of Create Event for the webhook body of a `text.status` event."""
    profile, attributes = _read(body)
    return _encode({"data": {"type": "event", "attributes": attributes | {"profile": profile}}})


def create_events(bodies: list[bytes]) -> bytes:
    """Return the body of Bulk Create Events for the webhook bodies of `text.status` events, in order."""
    groups = []
    for body in bodies:
        profile, attributes = _read(body)
        events = {"data": [{"type": "event", "attributes": attributes}]}
        groups.append({"type": "event-bulk-create", "attributes": {"profile": profile, "events": events}})
    job = {"type": "event-bulk-create-job", "attributes": {"events-bulk-create": {"data": groups}}}
    return _encode({"data": job})


def header_lines(config: dict[str, Any]) -> list[str]:
    """Return the headers of a request, with the key of a connection."""
    return [
        f"Authorization: Klaviyo-API-Key {config.get('api_key') or ''}",
        f"revision: {config.get('revision') or ''}",
        f"Content-Type: {MEDIA_TYPE}",
        f"Accept: {MEDIA_TYPE}",
    ]


def _read(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the profile and the other attributes of the event for a webhook body."""
    event = _decode(body)
    data = event.data
    properties: dict[str, Any] = {"Time": event.timestamp}
    if data.code is not None:
        properties["FailureCode"] = data.code
    if data.reason is not None:
        properties["FailureReason"] = data.reason
    # The caller's own properties take precedence, except over the two that the API promises.
    properties |= data.callback_data
    properties["MessageID"], properties["Status"] = data.message_id, data.status
    profile_id = str(msgspec.json.decode(data.callback_data["profileID"]))
    return {"data": {"type": "profile", "id": profile_id, "attributes": {}}}, {
        "properties": properties,
        "time": event.timestamp,
        "unique_id": f"{data.message_id}:{data.status}",
        "metric": {"data": {"type": "metric", "attributes": {"name": data.metric_name}}},
    }
