"""Read the requests of Amazon Data Firehose and the text message events in their records.

The protocol is that of Firehose HTTP endpoint delivery. The events are those of Amazon Pinpoint (`event_type`) and of
AWS End User Messaging (`eventType`), either bare or wrapped by EventBridge or SNS.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from waypost.domain.messaging.failure_codes import FAMILIES, read_end_user_messaging_event, read_pinpoint_event
from waypost.domain.messaging.keywords import read_inbound
from waypost.domain.messaging.message import Receipt
from waypost.domain.messaging.receipt import (
    Quarantined,
    clean_receipt,
    parse_moment,
    quarantine,
    read_count,
    read_message_id,
    read_micros,
    read_moment,
)
from waypost.errors import Invalid

#: The largest body that the Firehose protocol allows, decompressed.
BODY_BYTES = 64 * 1024 * 1024
#: The most nested wrappers, and the most objects in one record, that are read.
DEEPEST, MOST = 4, 10_000
#: The most pieces of a record that cannot be parsed; then the rest of it is not read.
_MOST_BROKEN = 20
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Number = str | int | float | None
Text = str | int | None


class Correlation(msgspec.Struct, gc=False):
    """The context that Waypost sends with a message: its public id."""

    mid: Any = None


#: AWS returns a context as an object, or as the JSON text of one.
Context = Correlation | str | None


class _Attributes(msgspec.Struct):
    sender_request_id: Any = None
    origination_phone_number: str | None = None
    destination_phone_number: str | None = None
    record_status: str | None = None
    iso_country_code: str | None = None
    mcc_mnc: Text = None
    number_of_message_parts: Number = None
    message_id: str | None = None
    message_type: str | None = None
    customer_context: Context = None
    mid: Any = None


class _Metrics(msgspec.Struct, gc=False):
    price_in_millicents_usd: Number = None


class _ClientContext(msgspec.Struct):
    custom: Context = None


class _Event(msgspec.Struct):
    """The keys that identify the kind of a record, and the fields that are read from it."""

    event_type: str | None = None
    event_timestamp: Number = None
    client_context: _ClientContext | None = None
    attributes: _Attributes | None = None
    metrics: _Metrics | None = None

    v2_type: str | None = msgspec.field(default=None, name="eventType")
    v2_at: Number = msgspec.field(default=None, name="eventTimestamp")
    destination: str | None = msgspec.field(default=None, name="destinationPhoneNumber")
    country: str | None = msgspec.field(default=None, name="isoCountryCode")
    mcc: Text = None
    mnc: Text = None
    carrier_name: str | None = msgspec.field(default=None, name="carrierName")
    message_id: str | None = msgspec.field(default=None, name="messageId")
    message_type: str | None = msgspec.field(default=None, name="messageType")
    description: str | None = msgspec.field(default=None, name="messageStatusDescription")
    context: Context = None
    parts: Number = msgspec.field(default=None, name="totalMessageParts")
    price: Number = msgspec.field(default=None, name="totalMessagePrice")
    fee: Number = msgspec.field(default=None, name="totalCarrierFee")

    #: The wrappers of EventBridge and SNS, and inbound messages.
    detail: Raw | UnsetType = UNSET
    wrapped: Raw | UnsetType = msgspec.field(default=UNSET, name="Message")
    inbound: Raw | UnsetType = msgspec.field(default=UNSET, name="originationNumber")


class _Request(msgspec.Struct):
    records: list[Raw]
    request_id: Any = msgspec.field(default=None, name="requestId")
    timestamp: Any = None


class _Record(msgspec.Struct, gc=False):
    data: bytes


class FirehoseRequest(msgspec.Struct):
    """One delivery request of Firehose."""

    request_id: str | None
    #: When Firehose made it, in microseconds; None if it does not say.
    at: int | None
    #: Undecoded, so that an invalid one does not affect the others.
    records: list[Raw]


_request = msgspec.json.Decoder(_Request).decode
_record = msgspec.json.Decoder(_Record).decode
_event = msgspec.json.Decoder(_Event).decode
_correlation = msgspec.json.Decoder(Correlation).decode
_anything = msgspec.json.Decoder().decode
_BLANK = re.compile(r"\s+")
_scan = json.JSONDecoder().raw_decode

Found = list[Receipt | Quarantined]


def read_delivery(body: bytes) -> FirehoseRequest:
    """Return a Firehose request with its records still undecoded. Raise Invalid if the body is not one."""
    try:
        found = _request(body)
    except _UNREADABLE as error:
        raise Invalid(
            f'The body is not a Firehose request, {{"requestId", "timestamp", "records": [{{"data"}}]}}: {error}.'
        ) from error
    request_id = found.request_id if isinstance(found.request_id, str) and len(found.request_id) <= 256 else None
    return FirehoseRequest(request_id, parse_moment(found.timestamp, "ms"), found.records)


def read_records(records: Iterable[Raw], workspace_id: int, connection_id: int, now: int) -> Found:
    """Return the receipts in the records, and one Quarantined for each record that is not fully readable.

    `now` (microseconds) is the time of events without their own. No content of a record raises.
    """
    found: Found = []
    for raw in records:
        try:
            data = _record(raw).data
        except _UNREADABLE as error:
            found.append(quarantine(workspace_id, connection_id, f"not a Firehose record: {error}", bytes(raw)))
            continue
        try:
            event = _event(data)
        except _UNREADABLE:
            found += read_event(data, workspace_id, connection_id, now)
            continue
        receipt = _read(event, workspace_id, connection_id, now)
        if receipt is not None:
            found.append(clean_receipt(receipt))
        elif not _is_ignored(event):
            found += read_event(data, workspace_id, connection_id, now)
    return found


def read_event(data: bytes, workspace_id: int, connection_id: int, now: int) -> Found:
    """Return what one record, already decoded from base64, contains: JSON objects in sequence, wrapped or not."""
    found: Found = []
    problem: str | None = None
    for piece in _pieces(data):
        reason = piece if isinstance(piece, str) else _unwrap(piece, workspace_id, connection_id, now, found, 0)
        problem = problem or reason
    if problem is not None:
        found.append(quarantine(workspace_id, connection_id, problem, data))
    return found


def _unwrap(data: bytes, workspace_id: int, connection_id: int, now: int, found: Found, depth: int) -> str | None:
    """Append the receipt of an object to `found`. Return why the object cannot be read, or None."""
    try:
        event = _event(data)
    except _UNREADABLE as error:
        return None if _is_other_kind(data) else f"not an event: {error}"
    receipt = _read(event, workspace_id, connection_id, now)
    if receipt is not None:
        found.append(clean_receipt(receipt))
        return None
    if _is_ignored(event):
        return None
    if event.inbound is not UNSET:
        inbound = read_inbound(data, workspace_id, connection_id, now)
        if inbound is None:
            return "not an inbound text message"
        found.append(inbound)
        return None
    if event.detail is UNSET and event.wrapped is UNSET:
        return "not an event of Pinpoint or End User Messaging"
    if depth == DEEPEST:
        return f"wrapped more than {DEEPEST} times"
    inner = event.detail if event.detail is not UNSET else event.wrapped
    text = _inner(inner)
    return _unwrap(text, workspace_id, connection_id, now, found, depth + 1)


def _inner(raw: Any) -> bytes:
    """Return the wrapped JSON, given as an object or as the JSON text of one."""
    data = bytes(raw)
    if data[:1] != b'"':
        return data
    try:
        return str(_anything(data)).encode()
    except _UNREADABLE:
        return data


def _read(event: _Event, workspace_id: int, connection_id: int, now: int) -> Receipt | None:
    if event.event_type is not None:
        return _read_pinpoint(event, event.event_type, workspace_id, connection_id, now)
    if event.v2_type is not None:
        return _read_end_user_messaging(event, event.v2_type, workspace_id, connection_id, now)
    return None


def _read_pinpoint(event: _Event, type_: str, workspace_id: int, connection_id: int, now: int) -> Receipt | None:
    attributes = event.attributes
    if attributes is None:
        return None
    meaning = read_pinpoint_event(type_, attributes.record_status, attributes.iso_country_code, attributes.message_type)
    if meaning is None:
        return None
    at = event.event_timestamp
    # Absent while the message is in progress.
    price = event.metrics.price_in_millicents_usd if event.metrics is not None else None
    return Receipt(
        workspace_id=workspace_id,
        connection_id=connection_id,
        message_id=_own_id(attributes.customer_context, event.client_context, attributes.mid),
        provider_message_id=attributes.message_id or None,
        occurred_at=at * 1000 if type(at) is int and 0 < at * 1000 <= now else read_moment(at, "ms", now),
        status=meaning.status,
        code=meaning.code,
        reason=meaning.reason,
        provider_code=attributes.record_status or type_,
        address=attributes.destination_phone_number,
        parts=read_count(attributes.number_of_message_parts),
        price_micros=read_micros(price, 10),
        currency=None if price is None else "USD",
        carrier=_text(attributes.mcc_mnc) or None,
        country=attributes.iso_country_code,
        suppress=meaning.suppress,
    )


def _read_end_user_messaging(
    event: _Event, type_: str, workspace_id: int, connection_id: int, now: int
) -> Receipt | None:
    meaning = read_end_user_messaging_event(type_, event.country, event.message_type)
    if meaning is None:
        return None
    at = event.v2_at
    fee = read_micros(event.fee, 1_000_000)
    return Receipt(
        workspace_id=workspace_id,
        connection_id=connection_id,
        message_id=_own_id(event.context, None, None),
        provider_message_id=event.message_id or None,
        occurred_at=at * 1000 if type(at) is int and 0 < at * 1000 <= now else read_moment(at, "ms", now),
        status=meaning.status,
        code=meaning.code,
        reason=meaning.reason,
        provider_code=type_,
        detail=event.description[:500] if event.description else None,
        address=event.destination,
        parts=read_count(event.parts),
        price_micros=read_micros(event.price, 1_000_000),
        currency=None if event.price is None else "USD",
        carrier=event.carrier_name or _text(event.mcc) + _text(event.mnc) or None,
        country=event.country,
        suppress=meaning.suppress,
        properties={} if fee is None else {"carrier_fee_micros": fee},
    )


def _own_id(context: Context, client: _ClientContext | None, flat: Any) -> int | None:
    """Return Waypost's message id from any of the places where AWS returns the context of a message."""
    found = _mid(context) or (_mid(client.custom) if client is not None else None) or flat
    return read_message_id(found) if found is not None else None


def _mid(context: Context) -> Any:
    if context is None:
        return None
    if isinstance(context, str):
        try:
            context = _correlation(context)
        except _UNREADABLE:
            return None
    return context.mid


def _text(value: Text) -> str:
    return "" if value is None else str(value)


def _is_ignored(event: _Event) -> bool:
    """Return whether it is an event of another kind: email, campaign, session, voice, or one that an app defined."""
    type_ = event.event_type or event.v2_type
    return type_ is not None and not (type_.startswith("_SMS.") and event.attributes is None)


def _is_other_kind(data: bytes) -> bool:
    """Return whether JSON that is not a text message event has the type of another kind of event."""
    try:
        found = _anything(data)
    except _UNREADABLE:
        return False
    type_ = found.get("event_type") or found.get("eventType") if isinstance(found, dict) else None
    return isinstance(type_, str) and not type_.startswith(("_SMS.", *FAMILIES))


def _pieces(data: bytes) -> Iterator[bytes | str]:
    """Yield the JSON values of a record, with or without newlines between them; a reason (str) for anything else."""
    if not data.strip():
        return
    # Most often the record is one object: _unwrap finds out, and only what it cannot read is taken apart.
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        yield f"not UTF-8: {error.reason}"
        return
    at = broken = count = 0
    while at < len(text):
        if blank := _BLANK.match(text, at):
            at = blank.end()
            continue
        try:
            _, end = _scan(text, at)
        except (ValueError, RecursionError):
            broken += 1
            yield "not JSON"
            newline = text.find("\n", at)
            if newline < 0 or broken == _MOST_BROKEN:
                return
            at = newline + 1
            continue
        count += 1
        if count > MOST:
            yield f"more than {MOST} events in one record"
            return
        yield text[at:end].encode()
        at = end
