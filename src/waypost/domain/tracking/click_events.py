"""The events of clicks and opens: of links and pixels, and those that a provider reports."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from waypost.domain.events.event import Event
from waypost.domain.messaging.message import Receipt
from waypost.domain.messaging.message_events import CampaignSummary, MessageSummary, summarize
from waypost.domain.messaging.status import MessageState
from waypost.domain.tracking.clicks import LONGEST_USER_AGENT, Judgement, read_user_agent
from waypost.domain.values.ids import public

CLICKED, EMAIL_CLICKED, EMAIL_OPENED = "message.clicked", "email.clicked", "email.opened"
#: The types of events of clicks.
CLICKS = frozenset({CLICKED, EMAIL_CLICKED})
#: The types of what a visitor does, whose events have the fields of a visit.
VISITS = CLICKS | {EMAIL_OPENED}

_encode = msgspec.json.Encoder().encode


class _MessageName(msgspec.Struct):
    """A message that was deleted before the click."""

    id: str


class _Clicked(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The data of the event, without the ids of the event."""

    message: MessageSummary | _MessageName | None = None
    campaign: CampaignSummary | None = None
    url: str | None = None
    link_id: str | None = None
    #: Which link of an email it is, from 1; 0 for the one that no person sees.
    link_number: int | None = None
    ip: str | None = None
    user_agent: str | None = None
    device: str | UnsetType = UNSET
    machine: bool | UnsetType = UNSET
    machine_reason: str | None = None
    #: Of a provider's report.
    from_: str | None = msgspec.field(default=None, name="from")
    connection_id: str | None = None
    properties: dict[str, Any] | None = None


class _Named(msgspec.Struct):
    id: str


class _Counted(msgspec.Struct):
    message: _Named | None = None
    machine: bool = False


_counted = msgspec.json.Decoder(_Counted)


def clicked(
    state: MessageState | None,
    judgement: Judgement,
    *,
    workspace_id: int,
    message_id: int | None,
    profile_id: int | None,
    link_id: int,
    url: str,
    at: int,
    ip: str,
    user_agent: str,
    event_name: str,
    key: int,
    number: int | None = None,
    campaign: CampaignSummary | None = None,
) -> Event:
    """Return the event of a click on a link. `event_name` and `key` identify it, should it be recorded again.

    `number` says which link of an email it is; None stands for a short link.
    """
    data = _Clicked(
        message=_message(state, message_id),
        campaign=campaign,
        url=url or None,
        link_id=public("lnk", link_id) if link_id else None,
        link_number=number,
        ip=ip or None,
        user_agent=user_agent or None,
        device=judgement.device,
        machine=judgement.machine_reason is not None,
        machine_reason=judgement.machine_reason,
    )
    return Event(
        workspace_id, CLICKED if number is None else EMAIL_CLICKED, profile_id, at, event_name, _encode(data), key
    )


def opened(
    state: MessageState | None,
    judgement: Judgement,
    *,
    workspace_id: int,
    message_id: int,
    at: int,
    ip: str,
    user_agent: str,
    event_name: str,
    key: int,
    campaign: CampaignSummary | None = None,
) -> Event:
    """Return the event of an open of an email. `event_name` and `key` identify it, should it be recorded again."""
    data = _Clicked(
        message=_message(state, message_id),
        campaign=campaign,
        ip=ip or None,
        user_agent=user_agent or None,
        device=judgement.device,
        machine=judgement.machine_reason is not None,
        machine_reason=judgement.machine_reason,
    )
    profile_id = None if state is None else state.profile_id
    return Event(workspace_id, EMAIL_OPENED, profile_id, at, event_name, _encode(data), key)


def _message(state: MessageState | None, message_id: int | None) -> MessageSummary | _MessageName | None:
    """Return the message as the data has it; only its id once it was deleted."""
    if state is not None:
        return summarize(state, None)
    return None if message_id is None else _MessageName(public("msg", message_id))


def reported_visit(
    state: MessageState | None,
    receipt: Receipt,
    profile_id: int | None,
    event_name: str,
    key: int,
    type_: str,
    campaign: CampaignSummary | None = None,
) -> Event:
    """Return the event of a click or an open that a provider reports, as far as the report goes."""
    reported = receipt.properties
    user_agent = _text(reported, "user_agent")[:LONGEST_USER_AGENT]
    device, reason = read_user_agent(user_agent) if user_agent else ("unknown", None)
    if reported.get("machine") is True:
        reason = "provider"
    data = _Clicked(
        message=summarize(state, receipt.detail) if state else None,
        campaign=campaign,
        url=_text(reported, "url") or None,
        ip=_text(reported, "ip") or None,
        user_agent=user_agent or None,
        device=device,
        machine=reason is not None,
        machine_reason=reason,
        from_=None if state else receipt.address,
        connection_id=public("con", receipt.connection_id),
        properties=reported or None,
    )
    return Event(
        receipt.workspace_id,
        type_,
        state.profile_id if state else profile_id,
        receipt.occurred_at,
        event_name,
        _encode(data),
        key,
    )


def read_click(data: bytes) -> tuple[int | None, bool]:
    """Return the id of the message in the data of a click, and whether a machine made it."""
    found = _counted.decode(data)
    return (None if found.message is None else int(found.message.id.removeprefix("msg_"), 16)), found.machine


def _text(properties: dict[str, Any], name: str) -> str:
    value = properties.get(name)
    return value if isinstance(value, str) else ""
