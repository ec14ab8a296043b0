"""What a Segment client says, read into an entry that can be recorded once."""

import hashlib
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Any, TypeVar

import msgspec
import phonenumbers
from msgspec import UNSET, Raw, UnsetType

from waypost.domain.values.json_numbers import LARGEST, check_numbers
from waypost.errors import Error, Invalid, TooLarge

#: Limits as Segment documents them for its HTTP tracking API.
EVENT_BYTES = 32 * 1024
BATCH_BYTES = 500 * 1024
BATCH_EVENTS = 2500
#: Ids longer than this are not ids.
ID_CHARACTERS = 512
#: Objects and arrays inside each other. Every reader downstream gets along with this many.
DEEPEST = 100
#: Types are kept shorter than an endpoint's patterns for them.
_SLUG_CHARACTERS = 200

KINDS = ("track", "identify", "alias", "page", "screen", "group")
#: The type of what is not a tracked metric. A metric `Order Shipped` has the type `event.order_shipped`.
TYPES = {
    "identify": "profile.identified",
    "alias": "profile.aliased",
    "page": "page.viewed",
    "screen": "screen.viewed",
    "group": "group.joined",
}

Identifier = tuple[str, str]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: What `datetime` can show: the years 1 to 9999.
_EARLIEST = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = {b"{"[0]: 1, b"["[0]: 1, b"}"[0]: -1, b"]"[0]: -1}
_NOT_BRACKETS = bytes(set(range(256)) - _BRACKETS.keys())
# Takes one escape at a time, so that the second of two backslashes never starts one.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


class TrackingMessage(msgspec.Struct, rename="camel"):
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


class TrackingBatch(msgspec.Struct, rename="camel"):
    """A batch of messages; each stays raw, so that a bad one spoils only itself."""

    batch: list[Raw]
    sent_at: str | int | float | None = None
    write_key: str | None = None


class Contents(msgspec.Struct, omit_defaults=True):
    """What a webhook's `data` says of an event, beside its ids."""

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


class Entry(msgspec.Struct):
    """An event that was read and is ready to be recorded."""

    workspace_id: int
    kind: str
    type: str
    metric: str | None
    message_id: str
    #: 64 bits that stand for workspace and message id in the index of what was seen.
    message_key: int
    #: Who it is about, strongest first: user_id, anonymous_id, email, phone.
    identifiers: tuple[Identifier, ...]
    #: Traits to fold into the profile; None when the message says nothing of the person.
    traits: dict[str, Any] | None
    occurred_at: int
    received_at: int
    #: JSON object: the Contents.
    data: bytes


#: A plus sign, digits, and what people write between them.
_PHONE = re.compile(r"\s*[+\uff0b][\d\s().\-\u2010-\u2015\u2060/]+")

_encoder = msgspec.json.Encoder()
_message = msgspec.json.Decoder(TrackingMessage)
_batch = msgspec.json.Decoder(TrackingBatch)
_object = msgspec.json.Decoder(dict[str, Any])
_Read = TypeVar("_Read")


def read_batch(body: bytes) -> TrackingBatch:
    """The messages of a `/v1/batch` body; Invalid when it is no such thing."""
    try:
        batch = _decode(_batch, body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f'The body is not a batch ({error}). Send {{"batch": [...]}}.', code="invalid_batch") from error
    if len(batch.batch) > BATCH_EVENTS:
        raise TooLarge(f"A batch holds at most {BATCH_EVENTS} events; this one has {len(batch.batch)}. Split it.")
    return batch


def read_message(raw: bytes | Raw) -> TrackingMessage:
    """One message; Invalid when it is no JSON object, a field has the wrong type, or others could not read it."""
    body = bytes(raw)
    if len(body) > EVENT_BYTES:
        raise TooLarge(f"An event is at most {EVENT_BYTES} bytes; this one has {len(body)}.")
    try:
        message = _decode(_message, body)
        # What stays raw was only skipped over, which checks all but the encoding.
        if not body.isascii():
            body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The event cannot be read: {error}.", code="invalid_event") from error
    check_numbers(body)
    if len(body.translate(None, _NOT_BRACKETS)) > 2 * DEEPEST and _depth(body) > DEEPEST:
        raise Invalid(f"The event has more than {DEEPEST} objects inside each other.", code="invalid_event")
    return message


def _decode(decoder: msgspec.json.Decoder[_Read], body: bytes) -> _Read:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError:
        # JavaScript sends half a surrogate pair where somebody cut an emoji in two. It becomes what every encoder
        # of UTF-8 makes of it; anything else stays wrong.
        mended = _ESCAPE.sub(lambda found: rb"\ufffd" if found["half"] else found[0], body)
        if mended == body:
            raise
        return decoder.decode(mended)


def _depth(body: bytes) -> int:
    brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_BRACKETS.__getitem__, brackets)))


def read_entry(
    message: TrackingMessage,
    kind: str | None,
    workspace_id: int,
    received_at: int,
    fallback_id: str,
    sent_at: str | float | None = None,
) -> Entry:
    """The entry that a message makes, or Invalid with what is wrong with it.

    `fallback_id` is taken where the client gave no `messageId`; such an event cannot be told from a repeat.
    `sent_at` is the batch's, for messages without their own.
    """
    kind = kind or message.type or ""
    if kind not in KINDS:
        raise Invalid(f"The type is {kind[:80]!r}; it must be one of {', '.join(KINDS)}.", code="invalid_type")
    message_id = message.message_id or fallback_id
    if not _is_id(message_id):
        raise Invalid(
            f"messageId must be at most {ID_CHARACTERS} characters, none of them control.", code="invalid_message_id"
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
                f"The name of an event has at most {ID_CHARACTERS} characters, none of them NUL.",
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
    contents = Contents(
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
    """64 signed bits for workspace and message id."""
    digest = hashlib.blake2b(b"%d:%b" % (workspace_id, message_id.encode()), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


@lru_cache(maxsize=10_000)
def metric_type(metric: str) -> str:
    """The event type of a tracked metric: `Order Shipped` is `event.order_shipped`.

    A name without any ASCII letter or digit, or a very long one, gets a short digest, so that it has a type of its own.
    """
    plain = unicodedata.normalize("NFKD", metric).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    if slug and len(slug) <= _SLUG_CHARACTERS:
        return f"event.{slug}"
    digest = hashlib.blake2b(metric.encode(), digest_size=4).hexdigest()
    return f"event.{slug[:_SLUG_CHARACTERS]}_{digest}" if slug else f"event.x{digest}"


def parse_time(value: str | float) -> int:
    """Microseconds since 1970 for an ISO-8601 text, or a number of seconds or milliseconds since 1970."""
    if isinstance(value, int) and abs(value) > LARGEST:
        # The decimal text of such a number may be more than Python makes.
        raise Invalid("The time is a number that does not fit in 64 bits.", code="invalid_time")
    try:
        if isinstance(value, str) and value.isdigit() and len(value) > 8:
            # More digits than a date has; `fromisoformat` would read some of them as a time long ago.
            value = int(value[:20])
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            result = (moment - _EPOCH) // _MICROSECOND
        else:
            # No event is older than 1973 in milliseconds, or later than 5138 in seconds.
            result = int(value * 1_000) if abs(value) >= 1e11 else int(value * 1_000_000)
    except (ValueError, OverflowError) as error:
        raise Invalid(f"{str(value)[:60]!r} is not an ISO-8601 time.", code="invalid_time") from error
    return _check_time(result, value)


def _check_time(at: int, value: str | float) -> int:
    if not _EARLIEST <= at <= _LATEST:
        raise Invalid(f"{str(value)[:60]!r} is too far from the present.", code="invalid_time")
    return at


def normal_email(value: object) -> str | None:
    """An address as it is compared, or None where it cannot be one."""
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    name, at, host = text.rpartition("@")
    if not (at and name and "." in host) or len(text) > 320 or _CONTROL.search(text) or " " in text:
        return None
    return text


@lru_cache(maxsize=10_000)
def _normal_phone(text: str) -> str | None:
    if not _PHONE.fullmatch(text):
        # The library would read letters as keys of a phone and drop extensions: a guess that may reach somebody else.
        return None
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def normal_phone(value: object) -> str | None:
    """A number as E.164, or None where it has no country code or cannot be one."""
    return _normal_phone(value) if isinstance(value, str) and len(value) <= 64 else None


def reason_of(error: Error, index: int, message_id: str | None) -> dict[str, Any]:
    """How one bad event of a batch is reported."""
    return {"index": index, "message_id": message_id, "code": error.code, "detail": error.detail}


def _is_id(text: str) -> bool:
    # Nearly all ids are printable, which is the quicker question.
    return len(text) <= ID_CHARACTERS and (text.isprintable() or not _CONTROL.search(text))


def _identifier(name: str, value: str | int | None) -> str | None:
    if value is None:
        return None
    text = str(value).strip()
    if not text:
        return None
    if not _is_id(text):
        raise Invalid(
            f"{name} must be at most {ID_CHARACTERS} characters, none of them control.", code="invalid_identity"
        )
    return text


def _object_or_unset(name: str, value: Raw) -> Raw | UnsetType:
    text = bytes(value)
    if text[:1] == b"{":
        return value
    # PHP writes an empty map as an empty list.
    if text == b"null" or (text[:1] == b"[" and not text[1:-1].strip()):
        return UNSET
    raise Invalid(f"`{name}` must be a JSON object.", code="invalid_event")


def _traits(kind: str, contents: Contents) -> dict[str, Any] | None:
    """What the message says of the person: an identify's traits, or `context.traits` of anything else."""
    try:
        if kind == "identify":
            return {} if contents.traits is UNSET else _object.decode(contents.traits)
        if contents.context is not UNSET and b'"traits"' in bytes(contents.context):
            inner = _object.decode(contents.context).get("traits")
            return inner if isinstance(inner, dict) else None
    except msgspec.DecodeError as error:
        raise Invalid(f"The traits cannot be read: {error}.", code="invalid_event") from error
    return None


def _identifiers(
    kind: str, user_id: str | None, anonymous_id: str | None, previous_id: str | None, traits: dict[str, Any] | None
) -> tuple[Identifier, ...]:
    found: list[Identifier] = []
    if user_id is not None:
        found.append(("user_id", user_id))
    if kind == "alias" and previous_id is not None:
        # A previousId may have been either; both lead to this person from now on.
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


def _occurred_at(message: TrackingMessage, received_at: int, sent_at: str | float | None) -> int:
    """When it happened: the client's time, corrected by how far its clock was off when it sent the message."""
    stated = message.original_timestamp or message.timestamp
    if stated is None:
        return received_at
    stated_at = parse_time(stated)
    if sent_at is None:
        return stated_at
    return _check_time(received_at - (parse_time(sent_at) - stated_at), stated)
