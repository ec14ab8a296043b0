"""Events that Waypost records itself: status changes of messages, engagement, and inbound messages."""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from waypost.domain.events.event import Event
from waypost.domain.messaging.message import Receipt, Status
from waypost.domain.messaging.status import HistoryEntry, MessageState
from waypost.domain.values.ids import public

_encode = msgspec.json.Encoder().encode
#: By status: its name, and the type of the event for it.
_NAMES = {status: (status.value, f"message.{status.value}") for status in Status}


class MessageSummary(msgspec.Struct, omit_defaults=True):
    """The message in the data of an event."""

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
    #: The occurrence of a campaign, and the variant of its template.
    occurrence_id: str | None = None
    variant: str | None = None
    metadata: Raw | UnsetType = UNSET
    test: bool = False
    parts: int | None = None
    #: In millionths of the currency.
    price_micros: int | None = None
    currency: str | None = None
    carrier: str | None = None


class ListSummary(msgspec.Struct):
    """The list of the audience of a campaign."""

    id: str
    name: str


class CampaignSummary(msgspec.Struct):
    """The campaign in the data of an event of an email."""

    id: str
    name: str
    occurrence_id: str
    #: None if the audience is not one list.
    list: ListSummary | None = None


class MessageEventContents(msgspec.Struct, omit_defaults=True):
    """The data of a message event, without the ids of the event."""

    message: MessageSummary | None = None
    #: The campaign of an email.
    campaign: CampaignSummary | None = None
    #: For `email.bounced`: `permanent`, `transient` or `undetermined`.
    kind: str | None = None
    #: The text of the inbound message, for `message.received`.
    text: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    #: `stop`, `start` or `help`, if the whole message is such a keyword.
    keyword: str | None = None
    connection_id: str | None = None
    properties: dict[str, Any] | None = None


def status_changed(state: MessageState, entry: HistoryEntry) -> Event:
    """Return the event for the status that a message has just reached."""
    summary = summarize(state, entry.detail)
    status, type_ = _NAMES[state.status]
    return Event(
        state.workspace_id,
        type_,
        state.profile_id,
        entry.at,
        # A message can be queued, sent and fail more than once, even within one try.
        f"{summary.id}:{status}:{state.tries}:{entry.at:x}",
        _encode(MessageEventContents(message=summary)),
    )


def engagement_type(type_: str, channel: str) -> str:
    """Return the type of the event of an engagement: those of emails begin with `email.`, whatever a connector says."""
    return f"email.{type_.removeprefix('message.')}" if channel == "email" and type_.startswith("message.") else type_


def engaged(
    state: MessageState | None,
    receipt: Receipt,
    profile_id: int | None,
    message_id: str,
    key: int,
    type_: str,
    campaign: CampaignSummary | None = None,
) -> Event:
    """Return the event for an engagement of a person with a message, such as unsubscribed or complained."""
    return Event(
        receipt.workspace_id,
        type_,
        state.profile_id if state else profile_id,
        receipt.occurred_at,
        message_id,
        _encode(
            MessageEventContents(
                message=summarize(state, receipt.detail) if state else None,
                campaign=campaign,
                from_=None if state else receipt.address,
                connection_id=public("con", receipt.connection_id),
                properties=receipt.properties or None,
            )
        ),
        key,
    )


def bounced(
    state: MessageState,
    kind: str,
    at: int,
    detail: str | None,
    message_id: str,
    key: int = 0,
    campaign: CampaignSummary | None = None,
) -> Event:
    """Return the event `email.bounced`; `kind` is `permanent`, `transient` or `undetermined`."""
    contents = MessageEventContents(
        message=summarize(state, detail),
        campaign=campaign,
        kind=kind,
        connection_id=public("con", state.connection_id),
    )
    return Event(state.workspace_id, "email.bounced", state.profile_id, at, message_id, _encode(contents), key)


def unsubscribed(
    state: MessageState | None,
    workspace_id: int,
    channel: str,
    address: str,
    profile_id: int | None,
    at: int,
    message_id: str,
    properties: dict[str, Any],
    campaign: CampaignSummary | None = None,
) -> Event:
    """Return the event of a person who unsubscribed by a link; `properties` say how."""
    contents = MessageEventContents(
        message=None if state is None else summarize(state, None),
        campaign=campaign,
        from_=None if state is not None else address,
        properties=properties,
    )
    type_ = engagement_type("message.unsubscribed", channel)
    return Event(workspace_id, type_, profile_id, at, message_id, _encode(contents))


def received(receipt: Receipt, keyword: str | None, profile_id: int | None, message_id: str, key: int) -> Event:
    """Return the event `message.received` for an inbound message."""
    return Event(
        receipt.workspace_id,
        "message.received",
        profile_id,
        receipt.occurred_at,
        message_id,
        _encode(
            MessageEventContents(
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


def summarize(state: MessageState, detail: str | None) -> MessageSummary:
    """Return the message as the data of events has it."""
    return MessageSummary(
        id=public("msg", state.id),
        channel=state.channel,
        to=state.address,
        status=_NAMES[state.status][0],
        connection_id=public("con", state.connection_id),
        code=state.code,
        reason=state.reason,
        provider_code=state.provider_code,
        detail=detail,
        provider_message_id=state.provider_message_id,
        template_id=public("tpl", state.template_id) if state.template_id else None,
        campaign=state.campaign,
        occurrence_id=public("occ", state.occurrence_id) if state.occurrence_id else None,
        variant=state.variant,
        metadata=Raw(state.metadata.encode()) if state.metadata != "{}" else UNSET,
        test=bool(state.test),
        parts=state.parts,
        price_micros=state.price_micros,
        currency=state.currency,
        carrier=state.carrier,
    )
