"""The catalogue of event types: what each is, the JSON Schema of a webhook that tells of it, and an example."""

from typing import Any

import msgspec

from waypost.domain.events.segment import TYPES, metric_type

DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: Ids and moment of the examples.
_EVENT, _PROFILE = "evt_061c7f3a2b1c0001", "pro_061c7f3a2b1b0001"
_MOMENT = "2026-03-14T09:26:53.589793Z"

_TEXT = {"type": "string"}
_OBJECT = {"type": "object"}
_IDS: dict[str, Any] = {
    "id": {"type": "string", "pattern": "^evt_[0-9a-f]{16}$", "description": "The event; the same in `webhook-id`."},
    "message_id": {"type": "string", "description": "The `messageId` that the client gave, or one made for it."},
    "profile_id": {
        "type": ["string", "null"],
        "pattern": "^pro_[0-9a-f]{16}$",
        "description": "Who it is about, as known when it came in.",
    },
}
_CONTENTS: dict[str, Any] = {
    "user_id": _TEXT | {"description": "The person, as your system knows them."},
    "anonymous_id": _TEXT | {"description": "The device or browser, before the person was known."},
    "properties": _OBJECT | {"description": "What the event says, as it came in."},
    "traits": _OBJECT | {"description": "What is said of the person or group, as it came in."},
    "context": _OBJECT | {"description": "Where it came from: library, page, device, campaign."},
    "integrations": _OBJECT,
    "name": _TEXT,
    "category": _TEXT,
}
_CONNECTION = "con_061c7f3a2b1a0001"
_MESSAGE: dict[str, Any] = _OBJECT | {
    "description": "The message as it stands.",
    "required": ["id", "channel", "to", "status", "connection_id"],
    "properties": {
        "id": {"type": "string", "pattern": "^msg_[0-9a-f]{16}$"},
        "channel": {"enum": ["sms", "email", "event"]},
        "to": _TEXT | {"description": "The address that it goes to."},
        "status": _TEXT,
        "connection_id": _TEXT,
        "code": {"type": "integer", "description": "The delivery failure code."},
        "reason": _TEXT | {"description": "Why, in one of Waypost's words."},
        "provider_code": _TEXT | {"description": "The provider's own word for it."},
        "detail": _TEXT | {"description": "The provider's own sentence."},
        "provider_message_id": _TEXT,
        "template_id": _TEXT,
        "campaign": _TEXT,
        "metadata": _OBJECT | {"description": "What came with the message when it was asked for."},
        "test": {"type": "boolean"},
        "parts": {"type": "integer"},
        "price_micros": {"type": "integer", "description": "Millionths of the currency."},
        "currency": _TEXT,
        "carrier": _TEXT,
    },
}
_EXAMPLE: dict[str, Any] = {
    "id": "msg_061c7f3a2b190001",
    "channel": "sms",
    "to": "+12025550101",
    "connection_id": _CONNECTION,
    "metadata": {"order_id": "A-1001"},
}
_STATUSES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("queued", "A message was accepted, or waits for its next try.", {}),
    ("sending", "A message is about to be handed to the provider.", {}),
    ("sent", "The provider took a message.", {"provider_message_id": "a1b2c3"}),
    ("delivered", "A message arrived.", {"provider_message_id": "a1b2c3", "parts": 1, "price_micros": 6450}),
    ("failed", "A message did not arrive.", {"code": 2009, "reason": "unreachable", "provider_code": "UNREACHABLE"}),
    ("skipped", "A message was not sent, for a named reason.", {"reason": "not_consented"}),
    ("unknown", "Nobody knows whether a message was sent; it is not repeated unasked.", {"reason": "interrupted"}),
)
_DEEDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("opened", "A person opened an email.", {"ip": "192.0.2.1", "machine": False}),
    ("clicked", "A person followed a link in an email.", {"url": "https://example.com/spring"}),
    ("complained", "A person called an email spam; nothing more is sent to the address.", {}),
    ("unsubscribed", "A person wants no more promotional messages.", {}),
)


class EventType(msgspec.Struct, frozen=True):
    """One event type."""

    type: str
    #: The verbatim name of the tracked metric behind it; null for the types that Waypost itself names.
    metric: str | None
    description: str
    #: JSON Schema (draft 2020-12) of the whole body of a webhook.
    schema: dict[str, Any]
    #: A whole body.
    example: dict[str, Any]


def _entry(
    type_: str, metric: str | None, description: str, contents: dict[str, Any], example: dict[str, Any]
) -> EventType:
    required = ["id", "message_id", "profile_id", *contents]
    schema = {
        "$schema": DIALECT,
        "title": type_,
        "description": description,
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"const": type_},
            "timestamp": {"type": "string", "format": "date-time", "description": "When it happened, UTC."},
            "data": {"type": "object", "required": required, "properties": _IDS | _CONTENTS | contents},
        },
    }
    ids = {"id": _EVENT, "message_id": "example-message-1", "profile_id": _PROFILE}
    return EventType(type_, metric, description, schema, {"type": type_, "timestamp": _MOMENT, "data": ids | example})


SYSTEM_TYPES = (
    _entry(
        TYPES["identify"],
        None,
        "Something was said of a person: an identify call.",
        {},
        {"user_id": "user-42", "traits": {"email": "ada@example.com", "first_name": "Ada", "plan": "pro"}},
    ),
    _entry(
        TYPES["alias"],
        None,
        "Two ids turned out to be one person: an alias call.",
        {"previous_id": _TEXT | {"description": "The id that leads to the same person from now on."}},
        {"user_id": "user-42", "previous_id": "anonymous-7"},
    ),
    _entry(
        TYPES["page"],
        None,
        "A person saw a page of a website.",
        {},
        {
            "anonymous_id": "anonymous-7",
            "name": "Pricing",
            "properties": {"url": "https://example.com/pricing", "title": "Pricing"},
        },
    ),
    _entry(
        TYPES["screen"],
        None,
        "A person saw a screen of an app.",
        {},
        {"user_id": "user-42", "name": "Basket", "properties": {"items": 3}},
    ),
    _entry(
        TYPES["group"],
        None,
        "A person belongs to a group, such as a company.",
        {"group_id": _TEXT},
        {"user_id": "user-42", "group_id": "company-9", "traits": {"name": "Example Ltd", "seats": 25}},
    ),
    *(
        _entry(
            f"message.{status}", None, words, {"message": _MESSAGE}, {"message": _EXAMPLE | {"status": status} | more}
        )
        for status, words, more in _STATUSES
    ),
    *(
        _entry(
            f"message.{what}",
            None,
            words,
            {"connection_id": _TEXT, "properties": _OBJECT | {"description": "What else the provider said."}},
            {"message": _EXAMPLE | {"status": "delivered"}, "connection_id": _CONNECTION, "properties": properties},
        )
        for what, words, properties in _DEEDS
    ),
    _entry(
        "message.received",
        None,
        "A person wrote to one of your numbers.",
        {
            "text": _TEXT | {"description": "What they wrote, verbatim."},
            "from": _TEXT,
            "connection_id": _TEXT,
        },
        {
            "text": "STOP",
            "from": "+12025550101",
            "to": "+18335550100",
            "keyword": "stop",
            "connection_id": _CONNECTION,
        },
    ),
)
_BY_TYPE = {entry.type: entry for entry in SYSTEM_TYPES}


def tracked_type(metric: str, type_: str | None = None) -> EventType:
    """The entry of a tracked metric; its properties are the client's own, so the schema leaves them open."""
    return _entry(
        type_ or metric_type(metric),
        metric,
        f"The metric {metric!r} was tracked.",
        {"metric": _TEXT | {"description": "The name of the metric, as the client spelled it."}},
        {
            "metric": metric,
            "user_id": "user-42",
            "properties": {"order_id": "A-1001", "total": 99.5, "currency": "EUR"},
        },
    )


def describe(type_: str, metric: str | None = None) -> EventType:
    """The entry of any type; a metric that nobody tracked yet gets the name that its type suggests."""
    known = _BY_TYPE.get(type_)
    if known is not None:
        return known
    words = type_.removeprefix("event.").replace("_", " ").replace(".", " ").strip().title()
    return tracked_type(metric or words or type_, type_)
