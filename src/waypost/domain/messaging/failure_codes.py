"""Delivery failure codes, and what the event types of AWS mean for text messages.

The codes of setup checks (setup_checks.py) are different codes, although 2003 and 2006 are in both tables.
"""

import msgspec

from waypost.domain.messaging.message import Status

#: The codes that Waypost itself assigns.
INSUFFICIENT_CREDITS = 2000
INVALID_NUMBER = 2003
DO_NOT_CALL = 2006
EXPIRED = 2008
UNDELIVERED = 2009
REJECTED = 2015
QUEUE_EXPIRED = 2016
THROTTLED = 2020
DUPLICATE = 2021
OTHER = 9988
#: Characters of an unknown provider status that a reason keeps.
_KEPT = 100


class FailureCode(msgspec.Struct, frozen=True):
    """A delivery failure code."""

    code: int
    name: str
    meaning: str


FAILURE_CODES: dict[int, FailureCode] = {
    code: FailureCode(code, name, meaning)
    for code, name, meaning in (
        (
            INSUFFICIENT_CREDITS,
            "Insufficient credits",
            "The account at the provider has used up its credit or its spending limit. Raise it, then send the message "
            "again to the recipients who did not get it.",
        ),
        (INVALID_NUMBER, "Invalid mobile number", "The phone number is not valid."),
        (
            DO_NOT_CALL,
            "User registered for NDNC",
            "The number is on a national do-not-call list, so that promotional messages do not reach it.",
        ),
        (EXPIRED, "Message expired", "The message was not delivered within its validity period."),
        (
            UNDELIVERED,
            "Undelivered",
            "The message did not reach the phone: it was off, out of reach, or its network could not be reached.",
        ),
        (REJECTED, "Message was rejected", "The mobile network of the recipient, or their phone, refused the message."),
        (
            QUEUE_EXPIRED,
            "Time to live expired (DND queue drop / FC queue drop)",
            "The message waited for the end of quiet hours or of a frequency cap, and expired there.",
        ),
        (
            THROTTLED,
            "Throttling error",
            "The messages exceeded the rate limit of the provider, and it still refused this one after retries. "
            "Pinpoint accepts 240,000 messages a minute; set a throttle for faster sends.",
        ),
        (
            DUPLICATE,
            "Duplicate",
            "The same message was sent to the same person more than once; only the first one is delivered.",
        ),
        (OTHER, "Other failures", "The message was not delivered for an unknown or uncommon reason."),
    )
}


class Meaning(msgspec.Struct, frozen=True):
    """What a provider's delivery status means for a message."""

    #: sent, delivered or failed; None if the message keeps its status.
    status: Status | None
    code: int | None = None
    reason: str | None = None
    #: The reason to suppress the address, if there is one.
    suppress: str | None = None


_IN_PROGRESS = Meaning(None)
_SENT = Meaning(Status.SENT)
_DELIVERED = Meaning(Status.DELIVERED)
_OPTED_OUT = Meaning(None, suppress="opted_out")
#: A promotional message blocked in India: the number is in the national do-not-call register.
_NDNC = Meaning(Status.FAILED, DO_NOT_CALL, "ndnc")


def _failed(code: int, reason: str, suppress: str | None = None) -> Meaning:
    return Meaning(Status.FAILED, code, reason, suppress)


#: By the `record_status` of Pinpoint, which is also the event type of End User Messaging after `TEXT_` or `MEDIA_`. The
#: names are those of AWS; Waypost assigns the codes.
WORDS: dict[str, Meaning] = {
    "QUEUED": _IN_PROGRESS,
    "PENDING": _IN_PROGRESS,
    "SENT": _SENT,
    "SUCCESSFUL": _SENT,
    "DELIVERED": _DELIVERED,
    "INVALID": _failed(INVALID_NUMBER, "invalid_number", "invalid_number"),
    "UNREACHABLE": _failed(UNDELIVERED, "unreachable"),
    "CARRIER_UNREACHABLE": _failed(UNDELIVERED, "carrier_unreachable"),
    "UNKNOWN": _failed(OTHER, "unknown"),
    "BLOCKED": _failed(REJECTED, "blocked"),
    "CARRIER_BLOCKED": _failed(REJECTED, "carrier_blocked"),
    "SPAM": _failed(REJECTED, "spam"),
    "INVALID_MESSAGE": _failed(REJECTED, "invalid_message"),
    "TTL_EXPIRED": _failed(EXPIRED, "expired"),
    "MAX_PRICE_EXCEEDED": _failed(INSUFFICIENT_CREDITS, "spend_limit"),
    "OPTED_OUT": _failed(OTHER, "opted_out", "opted_out"),
    "PROTECT_BLOCKED": _failed(OTHER, "protect_blocked"),
}
#: Prefixes of the End User Messaging event types for messages; those for voice calls have others.
FAMILIES = ("TEXT_", "MEDIA_", "RCS_")
#: Event types of End User Messaging that WORDS does not cover (source: the model in botocore).
_FURTHER: dict[str, Meaning] = {
    "MEDIA_FILE_INACCESSIBLE": _failed(OTHER, "media_inaccessible"),
    "MEDIA_FILE_TYPE_UNSUPPORTED": _failed(OTHER, "media_type_unsupported"),
    "MEDIA_FILE_SIZE_EXCEEDED": _failed(OTHER, "media_too_large"),
    "RCS_READ": _DELIVERED,
    "RCS_FAILED": _failed(OTHER, "failed"),
    "RCS_FALLEN_BACK_TO_SMS": _IN_PROGRESS,
}
_EVENT_TYPES = {family + word: meaning for family in FAMILIES for word, meaning in WORDS.items()} | _FURTHER
_BLOCKED = frozenset({"BLOCKED", *(family + "BLOCKED" for family in FAMILIES)})


def describe(code: int) -> FailureCode | None:
    """Return a delivery failure code with its name and meaning, or None if there is no such code."""
    return FAILURE_CODES.get(code)


def unrecognised(value: str) -> Meaning:
    """Return a failure for a status that Waypost does not know; its reason keeps the status."""
    return _failed(OTHER, f"unrecognised:{value[:_KEPT]}")


def read_record_status(value: str, country: str | None, message_type: str | None) -> Meaning:
    """Return what a `record_status` of Pinpoint means, for a country (ISO 3166-1 alpha-2) and a type of message."""
    if value == "BLOCKED" and _in_register(country, message_type):
        return _NDNC
    return WORDS.get(value) or unrecognised(value)


def read_pinpoint_event(
    event_type: str, record_status: str | None, country: str | None, message_type: str | None
) -> Meaning | None:
    """Return what a Pinpoint event (`_SMS.…`) means, or None if it is not about the delivery of a text message."""
    if event_type == "_SMS.BUFFERED":
        return _IN_PROGRESS
    if event_type == "_SMS.OPTOUT":
        return _OPTED_OUT
    if not event_type.startswith("_SMS."):
        return None
    if record_status:
        return read_record_status(record_status, country, message_type)
    if event_type == "_SMS.SUCCESS":
        return _SENT
    return unrecognised("") if event_type == "_SMS.FAILURE" else None


def read_end_user_messaging_event(event_type: str, country: str | None, message_type: str | None) -> Meaning | None:
    """Return what an event of AWS End User Messaging means, or None if it is not about the delivery of a message."""
    if event_type in _BLOCKED and _in_register(country, message_type):
        return _NDNC
    found = _EVENT_TYPES.get(event_type)
    if found is None and event_type.startswith(FAMILIES):
        return unrecognised(event_type)
    return found


def _in_register(country: str | None, message_type: str | None) -> bool:
    return country is not None and country.upper() == "IN" and (message_type or "").lower() == "promotional"
