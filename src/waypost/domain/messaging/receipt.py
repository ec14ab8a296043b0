"""Read the parts of receipts that all providers share: ids, times, prices; quarantine what cannot be read."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from waypost.clock import CLOCKS_DIFFER
from waypost.domain.messaging.message import Receipt, Status
from waypost.domain.values.ids import internal
from waypost.errors import NotFound

#: The bytes that are stored of a record that cannot be parsed.
QUARANTINED_BYTES = 64 * 1024
#: The characters that are stored of an error text, of an id, and of an inbound text.
WORDS, ID, TEXT = 500, 256, 10_000
#: The largest `properties` as JSON.
PROPERTIES_BYTES = 16 * 1024
#: Every JSON reader represents integers below this exactly.
_LARGEST = 1 << 53
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: The end of the year 9999, the last that ISO 8601 texts have.
_LATEST = 253_402_300_800_000_000 - 1
_SCALES = {"s": 1_000_000, "ms": 1000, "us": 1}
_CONTROL = re.compile(r"[\x00\ud800-\udfff]")
_SHORT = ("reason", "provider_code", "address", "carrier", "country", "currency", "suppress", "event", "own_address")
#: Reasons to suppress an address that does not exist, and reasons of failures that may pass.
_PERMANENT = frozenset({"bounced", "invalid_address"})
_TRANSIENT = frozenset({"blocked", "mailbox_full"})
_encode = msgspec.json.Encoder().encode


class Quarantined(msgspec.Struct, kw_only=True):
    """A provider record that Waypost cannot parse, stored for inspection."""

    workspace_id: int
    connection_id: int
    reason: str
    body: bytes


def quarantine(workspace_id: int, connection_id: int, reason: str, body: bytes) -> Quarantined:
    """Return the quarantined record of a body that cannot be parsed, cut to QUARANTINED_BYTES."""
    return Quarantined(
        workspace_id=workspace_id,
        connection_id=connection_id,
        reason=clean(reason, WORDS),
        body=bytes(body[:QUARANTINED_BYTES]),
    )


def read_message_id(text: Any) -> int | None:
    """Return the message id behind a public id that a provider returned, or None if it is not an id of Waypost."""
    if not isinstance(text, str):
        return None
    try:
        return internal("msg", text)
    except NotFound:
        return None


def read_moment(value: Any, unit: str, now: int) -> int:
    """Return the time of a report that arrived at `now`, in microseconds.

    `now` replaces a value that is not a time, and a time further ahead than two clocks may differ: otherwise an opt-in
    or opt-out dated in the future would override all later ones.
    """
    at = parse_moment(value, unit)
    return now if at is None or at > now + CLOCKS_DIFFER else at


def parse_moment(value: Any, unit: str) -> int | None:
    """Return a time between 1970 and 9999 in microseconds; None for anything else.

    `unit` is s, ms, us or iso; with iso, the size of a number decides its unit.
    """
    number = read_number(value)
    if number is not None:
        scale = _SCALES.get(unit) or (1_000_000 if number < 1e11 else 1000 if number < 1e14 else 1)
        at = int(number * scale) if 0 < number < _LATEST else 0
    elif unit == "iso" and isinstance(value, str):
        at = _read_iso(value)
    else:
        at = 0
    return at if 0 < at <= _LATEST else None


def _read_iso(value: str) -> int:
    try:
        moment = datetime.fromisoformat(value[:40])
    except ValueError:
        return 0
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def read_number(value: Any) -> float | None:
    """Return a finite number given as a number or as text, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value[:40] if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def read_count(value: Any) -> int | None:
    """Return a number of message parts from 0 to 10,000, given as number or text, or None for anything else."""
    number = read_number(value)
    return int(number) if number is not None and 0 <= number <= 10_000 else None


def read_micros(value: Any, scale: int) -> int | None:
    """Return a price in millionths of its currency; one unit of `value` is `scale` millionths.

    The sign is dropped, since some providers write charges as negative numbers.
    """
    number = read_number(value)
    micros = abs(number) * scale if number is not None else None
    return round(micros) if micros is not None and micros < _LARGEST else None


def clean(text: str, length: int) -> str:
    """Return the first `length` characters, with those that a database refuses replaced by U+FFFD."""
    return _CONTROL.sub("\ufffd", text[:length])


def clean_receipt(receipt: Receipt) -> Receipt:
    """Cut every text of a receipt to its limit and replace characters that a database refuses, in place; return it."""
    for name in _SHORT:
        value = getattr(receipt, name)
        if value is not None:
            setattr(receipt, name, clean(value, ID))
    if receipt.detail is not None:
        receipt.detail = clean(receipt.detail, WORDS)
    if receipt.text is not None:
        receipt.text = clean(receipt.text, TEXT)
    # A cut id would be a different id, so an id that is too long is dropped.
    if receipt.provider_message_id is not None and _unfit(receipt.provider_message_id):
        receipt.provider_message_id = None
    if receipt.receipt_id is not None and _unfit(receipt.receipt_id):
        receipt.receipt_id = None
    if receipt.properties:
        receipt.properties = _limit_properties(receipt.properties)
    return receipt


def bounce_of(receipt: Receipt) -> str | None:
    """Return how the email of a receipt bounced: its kind of bounce, or None if it did not."""
    if receipt.status is not Status.FAILED:
        return None
    if receipt.bounce is not None:
        return receipt.bounce
    if receipt.suppress in _PERMANENT:
        return "permanent"
    return "transient" if receipt.reason in _TRANSIENT else None


def _unfit(text: str) -> bool:
    return not 0 < len(text) <= ID or _CONTROL.search(text) is not None


def _limit_properties(properties: dict[str, Any]) -> dict[str, Any]:
    fitting: dict[str, Any] = {}
    for name, value in list(properties.items())[:50]:
        if isinstance(value, str):
            value = clean(value, 2048)
        elif not isinstance(value, int | float | bool):
            continue
        fitting[clean(name, 100)] = value
    return fitting if len(_encode(fitting)) <= PROPERTIES_BYTES else {}
