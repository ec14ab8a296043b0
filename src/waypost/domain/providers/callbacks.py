"""Read the receipts in the verified callbacks of providers, as the connector describes."""

from collections.abc import Iterable
from typing import Any

import msgspec

from waypost.domain.messaging.failure_codes import OTHER, unrecognised
from waypost.domain.messaging.keywords import inbound_receipt, keyword
from waypost.domain.messaging.message import Receipt, Status
from waypost.domain.messaging.receipt import (
    Quarantined,
    clean_receipt,
    quarantine,
    read_count,
    read_message_id,
    read_micros,
    read_moment,
)
from waypost.domain.providers.callback_verification import MOST_FIELDS, CallbackRequest, media_type, read_form
from waypost.domain.providers.connector import CallbackReading, CallbackStatus, Connector
from waypost.domain.templates.liquid.expressions import as_text
from waypost.domain.values.json_path import find, find_all, is_like
from waypost.errors import Invalid

#: The largest body of a callback; SendGrid sends its events in batches.
BODY_BYTES, BATCH_BYTES = 1024 * 1024, 8 * 1024 * 1024
_json = msgspec.json.Decoder().decode


def read_body(connector: Connector, request: CallbackRequest) -> list[Any]:
    """Return the records of a callback. Raise Invalid if its body does not have the format of the connector."""
    callback = connector.callback
    if callback is None:
        raise Invalid(f"The connector {connector.name} reads no callbacks.")
    if callback.encoding == "form" and not media_type(request.headers).endswith("json"):
        fields = read_form(request.body)
        if fields is None:
            raise Invalid(f"The body must be a form with at most {MOST_FIELDS} fields.")
        # The first of a repeated field counts.
        whole: Any = dict(reversed(fields))
    else:
        try:
            whole = _json(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Invalid(f"The body is not JSON: {error}.") from error
    found = find(whole, callback.records)
    return found if isinstance(found, list) else [found]


def read_callbacks(
    connector: Connector, records: Iterable[Any], workspace_id: int, connection_id: int, now: int
) -> list[Receipt | Quarantined]:
    """Return the receipts of the records of a verified callback, and quarantined records. Never raises.

    `now` (microseconds) is the time of records without their own.
    """
    found: list[Receipt | Quarantined] = []
    for record in records:
        try:
            receipt = _read(connector, record, workspace_id, connection_id, now)
        except _Unreadable as error:
            found.append(quarantine(workspace_id, connection_id, str(error), msgspec.json.encode(record)))
            continue
        if receipt is not None:
            found.append(clean_receipt(receipt))
    return found


class _Unreadable(Exception):
    """A record does not have the format of the connector."""


def _read(connector: Connector, record: Any, workspace_id: int, connection_id: int, now: int) -> Receipt | None:
    """Return the receipt of a record, or None if it names neither a message nor an address to suppress."""
    if not isinstance(record, dict) or connector.callback is None:
        raise _Unreadable("not an object")
    read = connector.callback.read
    status = _text(record, read.status) or ""
    rule = _rule(connector, record, status)
    if rule is not None and rule.kind == "inbound":
        return _read_inbound(read, record, workspace_id, connection_id, now)
    if rule is None and not status:
        raise _Unreadable("no status" if read.status else "the connector names no status")
    provider_id = _text(record, read.id)
    if provider_id and read.id_end:
        provider_id = provider_id.partition(read.id_end)[0]
    own = _text(record, read.message_id)
    code = _text(record, read.code)
    price = read_micros(find(record, read.price), 1_000_000) if read.price else None
    receipt = Receipt(
        workspace_id=workspace_id,
        connection_id=connection_id,
        message_id=read_message_id(own) if own else None,
        provider_message_id=provider_id or None,
        receipt_id=_text(record, read.receipt_id),
        occurred_at=read_moment(find(record, read.at), read.at_unit, now) if read.at else now,
        provider_code=code or status or None,
        detail=_text(record, read.detail),
        address=_text(record, read.address),
        parts=read_count(find(record, read.parts)) if read.parts else None,
        price_micros=price,
        currency=_text(record, read.currency) if price is not None else None,
        carrier=_text(record, read.carrier),
        country=_text(record, read.country),
    )
    _judge(connector, receipt, rule, status, code)
    if rule is not None and rule.kind == "engagement":
        receipt.kind, receipt.event, receipt.own_address = "engagement", rule.event, _text(record, read.own_address)
        receipt.properties = _properties(read, record)
    if receipt.message_id is None and receipt.provider_message_id is None and receipt.suppress is None:
        if receipt.status is not None or receipt.kind == "engagement":
            raise _Unreadable("it names no message")
        return None
    return receipt


def _judge(connector: Connector, receipt: Receipt, rule: CallbackStatus | None, status: str, code: str | None) -> None:
    """Set status, code, reason and suppression of a receipt by the meaning of the provider's status."""
    if rule is None:
        unknown = connector.callback.unknown if connector.callback is not None else None
        if unknown is not None:
            receipt.status = unknown.status
            if unknown.status is Status.FAILED:
                receipt.code = unknown.code or OTHER
                receipt.reason = unknown.reason or unrecognised(status).reason
        return
    receipt.status, receipt.suppress = rule.status, rule.suppress
    if rule.status is not Status.FAILED:
        return
    # The provider's error code is more precise than its status.
    fault = connector.errors.get(code) if code else None
    receipt.code = (fault.code if fault else None) or rule.code or OTHER
    receipt.reason = (fault.reason if fault else None) or rule.reason or unrecognised(status).reason
    receipt.suppress = (fault.suppress if fault else None) or rule.suppress


def _rule(connector: Connector, record: Any, status: str) -> CallbackStatus | None:
    for rule in connector.callback.statuses if connector.callback is not None else ():
        if is_like(status, rule.match) and all(
            any(is_like(value, expected) for value in find_all(record, path)) for path, expected in rule.when.items()
        ):
            return rule
    return None


def _read_inbound(read: CallbackReading, record: Any, workspace_id: int, connection_id: int, now: int) -> Receipt:
    # In an inbound message, sender and recipient are swapped.
    address = _text(record, read.own_address)
    if address is None:
        raise _Unreadable("it does not name the sender")
    return inbound_receipt(
        workspace_id,
        connection_id,
        read_moment(find(record, read.at), read.at_unit, now) if read.at else now,
        text=_text(record, read.text) or "",
        word=keyword(_text(record, read.keyword) or ""),
        address=address,
        own_address=_text(record, read.address),
        receipt_id=_text(record, read.receipt_id) or _text(record, read.id),
        properties=_properties(read, record),
    )


def _properties(read: CallbackReading, record: Any) -> dict[str, Any]:
    found = {name: find(record, path) for name, path in read.properties.items()}
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _text(record: Any, path: str) -> str | None:
    """Return the text or number at a path as text, or None for anything else."""
    value = find(record, path) if path else None
    return as_text(value) or None if isinstance(value, str | int | float) and not isinstance(value, bool) else None
