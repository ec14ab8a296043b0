"""Events that Waypost makes itself: what became of a message, and what a person did with it."""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from waypost.domain.events.event import Event
from waypost.domain.messaging.message import Receipt
from waypost.domain.messaging.status import HistoryEntry, MessageState
from waypost.domain.values.ids import public

_encode = msgspec.json.Encoder().encode


class MessageSaid(msgspec.Struct, omit_defaults=True):
    """What an event says of the message that it is about."""

    id: str
    channel: str
    to: str
    status: str
    connection_id: str
    code: int | None = None
    reason: str | None = None
    provider_code: str | None = None
    detail: str | None = None
    provider_message_id: str | None = None
    template_id: str | None = None
    campaign: str = ""
    metadata: Raw | UnsetType = UNSET
    test: bool = False
    parts: int | None = None
    #: Millionths of the currency.
    price_micros: int | None = None
    currency: str | None = None
    carrier: str | None = None


class Contents(msgspec.Struct, omit_defaults=True):
    """What the event of a message says beside its ids."""

    message: MessageSaid | None = None
    #: What the person wrote, for `message.received`.
    text: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    #: stop, start or help, when the whole message was such a word.
    keyword: str | None = None
    connection_id: str | None = None
    properties: dict[str, Any] | None = None


def status_changed(standing: MessageState, note: HistoryEntry) -> Event:
    """The event of a message that came to stand as it stands."""
    name = public("msg", standing.id)
    return Event(
        standing.workspace_id,
        f"message.{standing.status.value}",
        standing.profile_id,
        note.at,
        # A message can be queued, sent and fail more than once, even within one try.
        f"{name}:{standing.status.value}:{standing.tries}:{note.at:x}",
        _encode(Contents(message=_said(standing, note.detail))),
    )


def engaged(
    standing: MessageState | None, receipt: Receipt, profile_id: int | None, message_id: str, key: int
) -> Event:
    """The event of a person who did something with a message: opened, clicked, complained."""
    return Event(
        receipt.workspace_id,
        receipt.event or "message.engaged",
        standing.profile_id if standing else profile_id,
        receipt.occurred_at,
        message_id,
        _encode(
            Contents(
                message=_said(standing, receipt.detail) if standing else None,
                from_=None if standing else receipt.address,
                connection_id=public("con", receipt.connection_id),
                properties=receipt.properties or None,
            )
        ),
        key,
    )


def received(receipt: Receipt, keyword: str | None, profile_id: int | None, message_id: str, key: int) -> Event:
    """The event of a person who wrote."""
    return Event(
        receipt.workspace_id,
        "message.received",
        profile_id,
        receipt.occurred_at,
        message_id,
        _encode(
            Contents(
                text=receipt.text or "",
                from_=receipt.address,
                to=receipt.own_address,
                keyword=keyword,
                connection_id=public("con", receipt.connection_id),
                properties=receipt.properties or None,
            )
        ),
        key,
    )


def _said(standing: MessageState, detail: str | None) -> MessageSaid:
    return MessageSaid(
        id=public("msg", standing.id),
        channel=standing.channel,
        to=standing.address,
        status=standing.status.value,
        connection_id=public("con", standing.connection_id),
        code=standing.code,
        reason=standing.reason,
        provider_code=standing.provider_code,
        detail=detail,
        provider_message_id=standing.provider_message_id,
        template_id=public("tpl", standing.template_id) if standing.template_id else None,
        campaign=standing.campaign,
        metadata=Raw(standing.metadata.encode()) if standing.metadata != "{}" else UNSET,
        test=bool(standing.test),
        parts=standing.parts,
        price_micros=standing.price_micros,
        currency=standing.currency,
        carrier=standing.carrier,
    )
