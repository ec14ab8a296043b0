"""Read messages of the Segment HTTP tracking API into entries that the recorder records once each."""

import hashlib
import re
import unicodedata
from functools import lru_cache
from itertools import accumulate
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from waypost.domain.values.contacts import normal_email, normal_phone
from waypost.domain.values.json_numbers import check_numbers
from waypost.domain.values.times import check_time, parse_time
from waypost.errors import Error, Invalid, TooLarge

#: Limits that Segment documents for its HTTP tracking API.
EVENT_BYTES = 32 * 1024
BATCH_BYTES = 500 * 1024
BATCH_EVENTS = 2500
#: The most characters of an id.
ID_CHARACTERS = 512
#: The most objects and arrays inside each other; every later reader of the data can handle them.
DEEPEST = 100
#: The most characters of a type, so that the pattern of an endpoint can name it.
_SLUG_CHARACTERS = 200

KINDS = ("track", "identify", "alias", "page", "screen", "group")
#: By kind of message: the event type. A tracked metric `Order Shipped` has the type `event.order_shipped`.
TYPES = {
    "identify": "profile.identified",
    "alias": "profile.aliased",
    "page": "page.viewed",
    "screen": "screen.viewed",
    "group": "group.joined",
}

Identifier = tuple[str, str]

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = {b"{"[0]: 1, b"["[0]: 1, b"}"[0]: -1, b"]"[0]: -1}
_NOT_BRACKETS = bytes(set(range(256)) - _BRACKETS.keys())
# Matches one escape at a time, so that the second of two backslashes never starts one.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


class SegmentMessage(msgspec.Struct, rename="camel"):
    """One message of the Segment HTTP tracking API, as a client sends it."""

    type: str | None = None
    message_id: str | None = None
    user_id: str | int | None = None
    anonymous_id: str | int | None = None
    event: str | None = None
    name: str | None = None
    category: str | None = None
    previous_id: str | int | None = None
    group_id: str | int | None = None
    properties: Raw | UnsetType = UNSET
    traits: Raw | UnsetType = UNSET
    context: Raw | UnsetType = UNSET
    integrations: Raw | UnsetType = UNSET
    timestamp: str | int | float | None = None
    original_timestamp: str | int | float | None = None
    sent_at: str | int | float | None = None
    write_key: str | None = None


class SegmentBatch(msgspec.Struct, rename="camel"):
    """A batch of messages. Each stays undecoded, so that an invalid one does not affect the others."""

    batch: list[Raw]
    sent_at: str | int | float | None = None
    write_key: str | None = None


class EventContents(msgspec.Struct, omit_defaults=True):
    """The `data` of an event in a webhook, without its ids."""

    metric: str | None = None
    name: str | None = None
    category: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    previous_id: str | None = None
    group_id: str | None = None
    properties: Raw | UnsetType = UNSET
    traits: Raw | UnsetType = UNSET
    context: Raw | UnsetType = UNSET
    integrations: Raw | UnsetType = UNSET


class Entry(msgspec.Struct, gc=False):
    """A validated event, ready to be recorded."""

    workspace_id: int
    kind: str
    type: str
    metric: str | None
    message_id: str
    #: 64-bit hash of workspace and message id, the key of the deduplication index.
    message_key: int
    #: Identifiers of the person, strongest first: user_id, anonymous_id, email, phone.
    identifiers: tuple[Identifier, ...]
    #: Traits to set on the profile; None if the message has none.
    traits: dict[str, Any] | None
    occurred_at: int
    received_at: int
    #: EventContents as JSON.
    data: bytes


_encoder = msgspec.json.Encoder()
_message = msgspec.json.Decoder(SegmentMessage)
_batch = msgspec.json.Decoder(SegmentBatch)
_object = msgspec.json.Decoder(dict[str, Any])
_Read = TypeVar("_Read")


def read_batch(body: bytes) -> SegmentBatch:
    """Return the messages of a `/v1/batch` body. Raise Invalid if it is not a batch, TooLarge for too many messages."""
    try:
        batch = _decode(_batch, body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f'The body is not a batch ({error}). Send {{"batch": [...]}}.', code="invalid_batch") from error
    if len(batch.batch) > BATCH_EVENTS:
        raise TooLarge(f"A batch may have at most {BATCH_EVENTS} events; this one has {len(batch.batch)}. Split it.")
    return batch


def read_message(raw: bytes | Raw) -> SegmentMessage:
    """Return one message. Raise Invalid if it is not valid, TooLarge if it is larger than EVENT_BYTES."""
    body = bytes(raw)
    if len(body) > EVENT_BYTES:
        raise TooLarge(f"An event may have at most {EVENT_BYTES} bytes; this one has {len(body)}.")
    try:
        message = _decode(_message, body)
        # Undecoded fields were only skipped over, which checks everything except the encoding.
        if not body.isascii():
            body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The event is not valid: {error}.", code="invalid_event") from error
    check_numbers(body)
    if len(body.translate(None, _NOT_BRACKETS)) > 2 * DEEPEST and _depth(body) > DEEPEST:
        raise Invalid(f"The event has more than {DEEPEST} levels of nested objects and arrays.", code="invalid_event")
    return message


def _decode(decoder: msgspec.json.Decoder[_Read], body: bytes) -> _Read:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError:
        # JavaScript sends half a surrogate pair where a program cut an emoji in two. It becomes U+FFFD, as in every
        # encoder of UTF-8; any other error remains.
        repaired = _ESCAPE.sub(lambda found: rb"\ufffd" if found["half"] else found[0], body)
        if repaired == body:
            raise
        return decoder.decode(repaired)


def _depth(body: bytes) -> int:
    brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_BRACKETS.__getitem__, brackets)))


def read_entry(
    message: SegmentMessage,
    kind: str | None,
    workspace_id: int,
    received_at: int,
    fallback_id: str,
    sent_at: str | float | None = None,
) -> Entry:
    """Return the entry of a message. Raise Invalid if the message is not valid.

    `fallback_id` is used if the client sent no `messageId`; a repeat of such an event cannot be detected. `received_at`
    is in microseconds. `sent_at` is that of the batch, for messages without their own.
    """
    kind = kind or message.type or ""
    if kind not in KINDS:
        raise Invalid(f"The type is {kind[:80]!r}; it must be one of {', '.join(KINDS)}.", code="invalid_type")
    message_id = message.message_id or fallback_id
    if not _is_id(message_id):
        raise Invalid(
            f"messageId may have at most {ID_CHARACTERS} characters and no control characters.",
            code="invalid_message_id",
        )
    user_id = _identifier("userId", message.user_id)
    anonymous_id = _identifier("anonymousId", message.anonymous_id)
    if user_id is None and anonymous_id is None:
        raise Invalid("An event needs a userId or an anonymousId.", code="missing_identity")
    metric = None
    if kind == "track":
        metric = message.event
        if not metric or not metric.strip():
            raise Invalid("A track event needs its name in `event`.", code="missing_event")
        if len(metric) > ID_CHARACTERS or "\0" in metric:
            raise Invalid(
                f"The name of an event may have at most {ID_CHARACTERS} characters and no U+0000.",
                code="invalid_event_name",
            )
        type_ = metric_type(metric)
    else:
        type_ = TYPES[kind]
    previous_id = _identifier("previousId", message.previous_id)
    if kind == "alias" and previous_id is None:
        raise Invalid("An alias needs a previousId.", code="missing_previous_id")
    group_id = _identifier("groupId", message.group_id)
    if kind == "group" and group_id is None:
        raise Invalid("A group event needs a groupId.", code="missing_group_id")
    contents = EventContents(
        metric,
        message.name,
        message.category,
        user_id,
        anonymous_id,
        previous_id,
        group_id,
        UNSET if message.properties is UNSET else _object_or_unset("properties", message.properties),
        UNSET if message.traits is UNSET else _object_or_unset("traits", message.traits),
        UNSET if message.context is UNSET else _object_or_unset("context", message.context),
        UNSET if message.integrations is UNSET else _object_or_unset("integrations", message.integrations),
    )
    traits = _traits(kind, contents)
    return Entry(
        workspace_id=workspace_id,
        kind=kind,
        type=type_,
        metric=metric,
        message_id=message_id,
        message_key=message_key(workspace_id, message_id),
        identifiers=_identifiers(kind, user_id, anonymous_id, previous_id, traits),
        traits=traits,
        occurred_at=_occurred_at(message, received_at, message.sent_at or sent_at),
        received_at=received_at,
        data=_encoder.encode(contents),
    )


def message_key(workspace_id: int, message_id: str) -> int:
    """Return a signed 64-bit hash of workspace and message id."""
    digest = hashlib.blake2b(b"%d:%b" % (workspace_id, message_id.encode()), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


@lru_cache(maxsize=10_000)
def metric_type(metric: str) -> str:
    """Return the event type of a tracked metric: `Order Shipped` is `event.order_shipped`.

    A name without any ASCII letter or digit, or a very long one, gets a short digest, so that its type is unique.
    """
    plain = unicodedata.normalize("NFKD", metric).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    if slug and len(slug) <= _SLUG_CHARACTERS:
        return f"event.{slug}"
    digest = hashlib.blake2b(metric.encode(), digest_size=4).hexdigest()
    return f"event.{slug[:_SLUG_CHARACTERS]}_{digest}" if slug else f"event.x{digest}"


def reason_of(error: Error, index: int, message_id: str | None) -> dict[str, Any]:
    """Return how the response reports one invalid event of a batch."""
    return {"index": index, "message_id": message_id, "code": error.code, "detail": error.detail}


def _is_id(text: str) -> bool:
    # Almost all ids are printable, and that check is faster.
    return len(text) <= ID_CHARACTERS and (text.isprintable() or not _CONTROL.search(text))


def _identifier(name: str, value: str | int | None) -> str | None:
    if value is None:
        return None
    text = str(value).strip()
    if not text:
        return None
    if not _is_id(text):
        raise Invalid(
            f"{name} may have at most {ID_CHARACTERS} characters and no control characters.", code="invalid_identity"
        )
    return text


def _object_or_unset(name: str, value: Raw) -> Raw | UnsetType:
    text = bytes(value)
    if text[:1] == b"{":
        return value
    # PHP encodes an empty map as an empty list.
    if text == b"null" or (text[:1] == b"[" and not text[1:-1].strip()):
        return UNSET
    raise Invalid(f"`{name}` must be a JSON object.", code="invalid_event")


def _traits(kind: str, contents: EventContents) -> dict[str, Any] | None:
    """Return the traits of the person: those of an identify, or `context.traits` of any other kind."""
    try:
        if kind == "identify":
            return {} if contents.traits is UNSET else _object.decode(contents.traits)
        if contents.context is not UNSET and b'"traits"' in bytes(contents.context):
            inner = _object.decode(contents.context).get("traits")
            return inner if isinstance(inner, dict) else None
    except msgspec.DecodeError as error:
        raise Invalid(f"The traits are not valid: {error}.", code="invalid_event") from error
    return None


def _identifiers(
    kind: str, user_id: str | None, anonymous_id: str | None, previous_id: str | None, traits: dict[str, Any] | None
) -> tuple[Identifier, ...]:
    found: list[Identifier] = []
    if user_id is not None:
        found.append(("user_id", user_id))
    if kind == "alias" and previous_id is not None:
        # A previousId may have been either; both now resolve to this person.
        found.append(("user_id", previous_id))
        found.append(("anonymous_id", previous_id))
    if anonymous_id is not None:
        found.append(("anonymous_id", anonymous_id))
    if traits:
        email = normal_email(traits.get("email"))
        if email:
            found.append(("email", email))
        phone = normal_phone(traits.get("phone"))
        if phone:
            found.append(("phone", phone))
    return tuple(found) if len(found) == 1 else tuple(dict.fromkeys(found))


def _occurred_at(message: SegmentMessage, received_at: int, sent_at: str | float | None) -> int:
    """Return when the event happened: the client's time, corrected by the error of its clock at `sent_at`."""
    stated = message.original_timestamp or message.timestamp
    if stated is None:
        return received_at
    stated_at = parse_time(stated)
    if sent_at is None:
        return stated_at
    return check_time(received_at - (parse_time(sent_at) - stated_at), stated)
