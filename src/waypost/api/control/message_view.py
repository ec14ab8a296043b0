"""The API views of messages and their history."""

from typing import Any

import msgspec

from waypost.clock import id_time, iso
from waypost.domain.messaging.failure_codes import describe
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.status import HistoryEntry
from waypost.domain.texts.status import TextStatus, current_text_status
from waypost.domain.values.ids import public

_content = msgspec.json.Decoder(dict[str, Any])
_history = msgspec.json.Decoder(list[HistoryEntry])


class MessageHistoryEntry(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One entry of the history of a message."""

    status: str | None
    at: str
    code: int | None = None
    reason: str | None = None
    provider_code: str | None = None
    detail: str | None = None
    connection_id: str | None = None
    #: True if the entry did not change the status: it was late, or contradicts an earlier one.
    noted: bool = False


class Message(msgspec.Struct, kw_only=True):
    """A message with its status and history."""

    id: str
    channel: str
    to: str
    status: str
    code: int | None
    #: The name of `code`, and a description of the failure.
    failure: str | None
    reason: str | None
    provider_code: str | None
    provider_message_id: str | None
    connection_id: str
    profile_id: str | None
    template_id: str | None
    template_version: int | None
    campaign: str | None
    purpose: str
    metadata: dict[str, Any]
    test: bool
    tries: int
    parts: int | None
    price: float | None
    currency: str | None
    carrier: str | None
    #: For a text that came by the text-message API, its status there.
    text_status: TextStatus | None
    created_at: str
    updated_at: str
    due_at: str | None
    expires_at: str
    history: list[MessageHistoryEntry]


class MessageDetail(Message, kw_only=True):
    """A message with its content, and how often it was opened and its links were followed."""

    content: dict[str, Any] | None
    #: The campaign that it was sent for; null for a message with only the name of one.
    campaign_id: str | None
    #: Clicks on its links by people, as far as is known. Those of machines are counted apart.
    clicks: int
    machine_clicks: int
    #: Opens of an email by people and by machines, as far as is known.
    opens: int
    machine_opens: int


def message_detail_view(
    record: dict[str, Any], clicks: tuple[int, int], opens: tuple[int, int], *, campaign_id: int | None
) -> MessageDetail:
    """Return the API view of a row of `messages.get`, with the content; clicks and opens of people and of machines."""
    content = record["content"]
    return MessageDetail(
        **msgspec.structs.asdict(message_view(record)),
        content=_content.decode(content) if content is not None else None,
        campaign_id=None if campaign_id is None else public("cmp", campaign_id),
        clicks=clicks[0],
        machine_clicks=clicks[1],
        opens=opens[0],
        machine_opens=opens[1],
    )


def message_view(record: dict[str, Any]) -> Message:
    """Return the API view of a row of `messages`, without the content."""
    code = record["code"]
    failed = describe(code) if code is not None else None
    history = _history.decode(f"[{record['history']}]")
    return Message(
        id=public("msg", record["id"]),
        channel=record["channel"],
        to=record["address"],
        status=record["status"],
        code=code,
        failure=failed.name if failed is not None else None,
        reason=record["reason"],
        provider_code=record["provider_code"],
        provider_message_id=record["provider_message_id"],
        connection_id=public("con", record["connection_id"]),
        profile_id=None if record["profile_id"] is None else public("pro", record["profile_id"]),
        template_id=public("tpl", record["template_id"]) if record["template_id"] else None,
        template_version=record["template_version"] or None,
        campaign=record["campaign"] or None,
        purpose=record["purpose"],
        metadata=_content.decode(record["metadata"]),
        test=bool(record["test"]),
        tries=record["tries"],
        parts=record["parts"],
        price=None if record["price_micros"] is None else record["price_micros"] / 1_000_000,
        currency=record["currency"],
        carrier=record["carrier"],
        text_status=None if record["text_client_id"] is None else _text_status(record, history),
        created_at=iso(id_time(record["id"])),
        updated_at=iso(record["updated_at"]),
        due_at=None if record["due_at"] is None else iso(record["due_at"]),
        expires_at=iso(record["expires_at"]),
        history=[_history_view(entry) for entry in history],
    )


def _text_status(record: dict[str, Any], history: list[HistoryEntry]) -> TextStatus:
    reached = {entry.status for entry in history if entry.status is not None and not entry.noted}
    return current_text_status(Status(record["status"]), record["reason"], record["provider_message_id"], reached)


def _history_view(entry: HistoryEntry) -> MessageHistoryEntry:
    return MessageHistoryEntry(
        status=entry.status.value if entry.status is not None else None,
        at=iso(entry.at),
        code=entry.code,
        reason=entry.reason,
        provider_code=entry.provider_code,
        detail=entry.detail,
        connection_id=None if entry.connection is None else public("con", entry.connection),
        noted=entry.noted,
    )
