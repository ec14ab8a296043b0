"""Event types: a description, the JSON Schema of the webhook body, and an example for each."""

from typing import Any

import msgspec

from waypost.domain.events.segment import TYPES, metric_type

DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: The ids and the time in the examples.
_EVENT, _PROFILE = "evt_061c7f3a2b1c0001", "pro_061c7f3a2b1b0001"
_MOMENT = "2026-03-14T09:26:53.589793Z"

_TEXT = {"type": "string"}
_OBJECT = {"type": "object"}
_IDS: dict[str, Any] = {
    "id": {
        "type": "string",
        "pattern": "^evt_[0-9a-f]{16}$",
        "description": "The event id; the same as in the header `webhook-id`.",
    },
    "message_id": {"type": "string", "description": "The `messageId` of the client, or a generated one."},
    "profile_id": {
        "type": ["string", "null"],
        "pattern": "^pro_[0-9a-f]{16}$",
        "description": "The profile that the event was resolved to when it was recorded.",
    },
}
_CONTENTS: dict[str, Any] = {
    "user_id": _TEXT | {"description": "The id of the person in your system."},
    "anonymous_id": _TEXT | {"description": "The id of the device or browser."},
    "properties": _OBJECT | {"description": "The properties of the event, as received."},
    "traits": _OBJECT | {"description": "The traits of the person or group, as received."},
    "context": _OBJECT | {"description": "The origin of the event: library, page, device, campaign."},
    "integrations": _OBJECT,
    "name": _TEXT,
    "category": _TEXT,
}
_CONNECTION = "con_061c7f3a2b1a0001"
_MESSAGE: dict[str, Any] = _OBJECT | {
    "description": "The message in its current state.",
    "required": ["id", "channel", "to", "status", "connection_id"],
    "properties": {
        "id": {"type": "string", "pattern": "^msg_[0-9a-f]{16}$"},
        "channel": {"enum": ["sms", "email", "event"]},
        "to": _TEXT | {"description": "The address of the recipient."},
        "status": _TEXT,
        "connection_id": _TEXT,
        "code": {"type": "integer", "description": "The delivery failure code."},
        "reason": _TEXT | {"description": "The reason, a word of Waypost such as `unreachable`."},
        "provider_code": _TEXT | {"description": "The provider's own code."},
        "detail": _TEXT | {"description": "The provider's own error text."},
        "provider_message_id": _TEXT,
        "template_id": _TEXT,
        "campaign": _TEXT,
        "metadata": _OBJECT | {"description": "The metadata of the request for the message."},
        "test": {"type": "boolean"},
        "parts": {"type": "integer"},
        "price_micros": {"type": "integer", "description": "In millionths of the currency."},
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
    ("sent", "The provider accepted a message.", {"provider_message_id": "a1b2c3"}),
    ("delivered", "A message was delivered.", {"provider_message_id": "a1b2c3", "parts": 1, "price_micros": 6450}),
    ("failed", "A message was not delivered.", {"code": 2009, "reason": "unreachable", "provider_code": "UNREACHABLE"}),
    ("skipped", "A message was not sent; `reason` says why.", {"reason": "not_consented"}),
    (
        "unknown",
        "A message may or may not have been sent; Waypost does not repeat it by itself.",
        {"reason": "interrupted"},
    ),
)
_ENGAGEMENTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("email.complained", "A person reported an email as spam; Waypost sends nothing more to the address.", {}),
    (
        "email.unsubscribed",
        "A person unsubscribed from promotional emails: by the link, by the mail program, or at the provider.",
        {"source": "one_click", "ip": "192.0.2.1"},
    ),
    ("message.unsubscribed", "A person unsubscribed from promotional texts by a link.", {"source": "unsubscribe_page"}),
)
#: The campaign of an email, in the data of its events.
_CAMPAIGN: dict[str, Any] = {
    "campaign": _OBJECT
    | {
        "description": "The campaign of the message; absent if there is none.",
        "required": ["id", "name", "occurrence_id"],
        "properties": {
            "id": _TEXT,
            "name": _TEXT,
            "occurrence_id": _TEXT,
            "list": {
                "type": ["object", "null"],
                "description": "The list of its audience; null if the audience is not one list.",
                "properties": {"id": _TEXT, "name": _TEXT},
            },
        },
    }
}
_IN_CAMPAIGN: dict[str, Any] = {
    "campaign": {
        "id": "cmp_061c7f3a2b180001",
        "name": "Spring",
        "occurrence_id": "occ_061c7f3a2b180002",
        "list": {"id": "lst_061c7f3a2b170001", "name": "Newsletter"},
    }
}
_EMAIL: dict[str, Any] = {
    "id": "msg_061c7f3a2b190001",
    "channel": "email",
    "to": "ada@example.com",
    "connection_id": "con_061c7f3a2b1a0001",
}
_TEXT_FIELDS: dict[str, Any] = {
    "MessageID": _TEXT | {"pattern": "^msg_[0-9a-f]{16}$", "description": "The id of the message."},
    "Status": _TEXT | {"description": "The status, in the words of the text-message API."},
    "metricName": _TEXT | {"description": "The metric that `callbackData` names, or the default of the client."},
    "sendPurpose": _TEXT,
    "client_id": _TEXT | {"description": "The `X-Client-ID` of the client."},
}
_TEXT_EXAMPLE: dict[str, Any] = {
    "MessageID": "msg_061c7f3a2b190001",
    "metricName": "Birthday",
    "sendPurpose": "Birthday",
    "client_id": "wtc_5f1c0a9b2d3e4f5061728394",
}


_CLICK: dict[str, Any] = {
    # A link outlives its message.
    "message": _MESSAGE
    | {"required": ["id"], "description": "The message in its current state; only its id once it was deleted."},
    "url": _TEXT | {"description": "The URL that the link led to."},
    "link_id": _TEXT | {"description": "The id of the link; absent for a click that a provider reports."},
    "link_number": {"type": "integer", "description": "Which link of the email it is, from 1; 0 for the hidden one."},
    "ip": _TEXT,
    "user_agent": _TEXT,
    "device": {"enum": ["phone", "tablet", "desktop", "bot", "unknown"]},
    "machine": {"type": "boolean", "description": "Whether a machine made the click, as far as is known."},
    "machine_reason": _TEXT | {"description": "Why it counts as made by a machine."},
    "connection_id": _TEXT | {"description": "The connection whose provider reports the click."},
}


_OPEN_FIELDS = ("message", "ip", "user_agent", "device", "machine", "machine_reason", "connection_id")
_VISIT_OPTIONAL = frozenset({*_CLICK, "campaign"} - {"device", "machine"})


class EventType(msgspec.Struct, frozen=True):
    """One event type."""

    type: str
    #: The name of the tracked metric, verbatim; None for the types that Waypost itself defines.
    metric: str | None
    description: str
    #: JSON Schema (draft 2020-12) of the webhook body.
    schema: dict[str, Any]
    #: A webhook body.
    example: dict[str, Any]


def _entry(
    type_: str,
    metric: str | None,
    description: str,
    contents: dict[str, Any],
    example: dict[str, Any],
    optional: frozenset[str] = frozenset(),
) -> EventType:
    required = ["id", "message_id", "profile_id", *(name for name in contents if name not in optional)]
    schema = {
        "$schema": DIALECT,
        "title": type_,
        "description": description,
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"const": type_},
            "timestamp": {"type": "string", "format": "date-time", "description": "When the event happened, in UTC."},
            "data": {"type": "object", "required": required, "properties": _IDS | _CONTENTS | contents},
        },
    }
    ids = {"id": _EVENT, "message_id": "example-message-1", "profile_id": _PROFILE}
    return EventType(type_, metric, description, schema, {"type": type_, "timestamp": _MOMENT, "data": ids | example})


SYSTEM_TYPES = (
    _entry(
        TYPES["identify"],
        None,
        "A client set traits of a person: an identify call.",
        {},
        {"user_id": "user-42", "traits": {"email": "ada@example.com", "first_name": "Ada", "plan": "pro"}},
    ),
    _entry(
        TYPES["alias"],
        None,
        "A client declared that two ids belong to one person: an alias call.",
        {"previous_id": _TEXT | {"description": "The id that now resolves to the same person."}},
        {"user_id": "user-42", "previous_id": "anonymous-7"},
    ),
    _entry(
        TYPES["page"],
        None,
        "A person viewed a page of a website.",
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
        "A person viewed a screen of an app.",
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
            type_,
            None,
            words,
            {
                "message": _MESSAGE,
                **_CAMPAIGN,
                "connection_id": _TEXT | {"description": "The connection whose provider reports it."},
                "properties": _OBJECT | {"description": "What is known of it: of a link, `source` and the request."},
            },
            {
                "message": (_EMAIL if type_.startswith("email.") else _EXAMPLE) | {"status": "delivered"},
                "properties": properties,
            },
            optional=frozenset({"message", "campaign", "connection_id", "properties"}),
        )
        for type_, words, properties in _ENGAGEMENTS
    ),
    _entry(
        "email.opened",
        None,
        "A person opened an email, or a machine loaded its pictures.",
        {name: _CLICK[name] for name in _OPEN_FIELDS} | _CAMPAIGN,
        {
            "message": _EMAIL | {"status": "delivered"},
            "ip": "192.0.2.1",
            "user_agent": "Mozilla/5.0",
            "device": "bot",
            "machine": True,
            "machine_reason": "mail_privacy",
        }
        | _IN_CAMPAIGN,
        optional=_VISIT_OPTIONAL,
    ),
    _entry(
        "email.clicked",
        None,
        "A person, or a machine on the way, followed a link in an email.",
        _CLICK | _CAMPAIGN,
        {
            "message": _EMAIL | {"status": "delivered"},
            "url": "https://example.com/spring?utm_source=mail",
            "link_id": "lnk_3a1f3c2a9b7d4e61",
            "link_number": 1,
            "ip": "192.0.2.1",
            "user_agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)",
            "device": "desktop",
            "machine": False,
        }
        | _IN_CAMPAIGN,
        optional=_VISIT_OPTIONAL,
    ),
    _entry(
        "email.bounced",
        None,
        "An email did not reach its mailbox, now or ever.",
        {
            "message": _MESSAGE,
            **_CAMPAIGN,
            "kind": {
                "enum": ["permanent", "transient", "undetermined"],
                "description": "Whether the mailbox will never take it.",
            },
            "connection_id": _TEXT,
        },
        {
            "message": _EMAIL | {"status": "failed", "code": 2009, "reason": "bounced"},
            "kind": "permanent",
            "connection_id": _CONNECTION,
        },
        optional=frozenset({"campaign"}),
    ),
    _entry(
        "message.clicked",
        None,
        "A person, or a machine on the way, followed a link in a text message.",
        {name: schema for name, schema in _CLICK.items() if name != "link_number"},
        {
            "message": _EXAMPLE | {"status": "delivered"},
            "url": "https://example.com/spring?utm_source=sms",
            "link_id": "lnk_000f3c2a9b7d4e61",
            "ip": "192.0.2.1",
            "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)",
            "device": "phone",
            "machine": False,
        },
        optional=_VISIT_OPTIONAL,
    ),
    _entry(
        "message.received",
        None,
        "A person sent a text message to one of your numbers.",
        {
            "text": _TEXT | {"description": "The text, verbatim."},
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
    _entry(
        "subscription.changed",
        None,
        "The owner of an address subscribed to a channel or unsubscribed from it.",
        {
            "channel": {"enum": ["sms", "email", "event"]},
            "address": _TEXT,
            "state": {"enum": ["subscribed", "unsubscribed"]},
            "before": {
                "enum": ["subscribed", "unsubscribed", None],
                "description": "The state before; null if nothing was known of the address.",
            },
            "source": _TEXT | {"description": "How it is known: `keyword`, `provider`, `api` or a word of yours."},
            "changed_at": {"type": "string", "format": "date-time", "description": "When the person said so."},
        },
        {
            "channel": "sms",
            "address": "+12025550101",
            "state": "unsubscribed",
            "before": "subscribed",
            "source": "keyword",
            "changed_at": _MOMENT,
        },
    ),
    *(
        _entry(
            type_,
            None,
            words,
            {"segment": _OBJECT | {"required": ["id", "name", "version"], "description": "The segment."}},
            {"segment": {"id": "seg_061c7f3a2b180001", "name": "Active customers", "version": 1}},
        )
        for type_, words in (
            ("segment.entered", "A person became a member of a tracked segment."),
            ("segment.left", "A person is no longer a member of a tracked segment."),
        )
    ),
    *(
        _entry(
            f"list.{what}",
            None,
            words,
            {
                "list": _OBJECT | {"description": "Its `id` and `name`."},
                "source": _TEXT | {"description": "How it is known: `api`, `confirmation` or a word of yours."},
            },
            {"list": {"id": "lst_061c7f3a2b180001", "name": "News"}, "source": "api"},
        )
        for what, words in (("joined", "A person is on a list now."), ("left", "A person is on a list no longer."))
    ),
    *(
        _entry(f"profile.{what}", None, words, {"tag": _TEXT}, {"tag": "vip"})
        for what, words in (("tagged", "A person got a tag."), ("untagged", "A person lost a tag."))
    ),
    _entry(
        "profile.deleted",
        None,
        "A person was deleted; `deleted_profile_id` says which one, for other systems that know it.",
        {"deleted_profile_id": _TEXT},
        {"deleted_profile_id": _PROFILE},
    ),
    _entry(
        "import.finished",
        None,
        "An import of people has ended.",
        {"import": _OBJECT | {"description": "Its `id`, `state`, `rows`, `imported`, `rejected`, `created` and more."}},
        {
            "import": {
                "id": "imp_061c7f3a2b180002",
                "state": "done",
                "rows": 3,
                "imported": 2,
                "rejected": 1,
                "created": 2,
                "list_id": None,
                "source": "import",
                "reason": None,
            }
        },
    ),
    _entry(
        "text.requested",
        None,
        "A client of the text-message API sent a text, and got the answer 200.",
        _TEXT_FIELDS,
        _TEXT_EXAMPLE | {"Status": "PENDING_TO_SEND"},
    ),
    _entry(
        "text.status",
        None,
        "A text of the text-message API came to a status.",
        _TEXT_FIELDS | {"callbackData": _OBJECT | {"description": "The `callbackData` of the request, as an object."}},
        _TEXT_EXAMPLE
        | {
            "Status": "FAILED_TO_DELIVERY",
            "callbackData": {"profileID": "01GDDKASAP8TKDDA2GRZDSVP4H", "metricName": "Birthday", "flow": "Birthday"},
            "phone": "+12025550101",
            "code": 2009,
            "reason": "unreachable",
        },
    ),
)
_BY_TYPE = {entry.type: entry for entry in SYSTEM_TYPES}


def tracked_type(metric: str, type_: str | None = None) -> EventType:
    """Return the event type of a tracked metric. The client defines its properties, so the schema allows any."""
    return _entry(
        type_ or metric_type(metric),
        metric,
        f"A client tracked the metric {metric!r}.",
        {"metric": _TEXT | {"description": "The name of the metric, as the client spelled it."}},
        {
            "metric": metric,
            "user_id": "user-42",
            "properties": {"order_id": "A-1001", "total": 99.5, "currency": "EUR"},
        },
    )


def describe(type_: str, metric: str | None = None) -> EventType:
    """Return any event type by its name. For a metric not tracked yet, a name is derived from the type."""
    known = _BY_TYPE.get(type_)
    if known is not None:
        return known
    words = type_.removeprefix("event.").replace("_", " ").replace(".", " ").strip().title()
    return tracked_type(metric or words or type_, type_)
