"""A message to one person: what it says, where it stands, and how it may move.

queued ──claimed──▶ sending ──taken by the provider──▶ sent ──▶ delivered
  │  ▲                │ │ └──fate not known──▶ unknown ──▶ sent, delivered, failed (by a receipt)
  │  └──surely not────┘ │                         └──repeated by hand──▶ queued
  │     taken           └──refused──▶ failed ──late receipt──▶ delivered
  ├──held──▶ queued          sent ──▶ failed
  └──▶ skipped, failed (expired)
"""

from enum import StrEnum
from typing import Any

import msgspec


class Status(StrEnum):
    """Where a message stands; one current value."""

    QUEUED = "queued"  #: Owed: waits for its time, its turn or its next try.
    HELD = "held"  #: Waits for something else than time, named by its reason.
    SENDING = "sending"  #: About to be on the wire, or on it.
    SENT = "sent"  #: The provider took it.
    DELIVERED = "delivered"  #: It arrived.
    FAILED = "failed"  #: It did not, for a reason with a code.
    SKIPPED = "skipped"  #: It was not sent, for a named reason.
    UNKNOWN = "unknown"  #: It may have been sent: nobody can tell. Never repeated unasked.


class Content(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What a message says, rendered. Which fields count depends on the channel."""

    # sms
    text: str = ""
    media_urls: list[str] = []
    click_url: str = ""
    # email: `text` is its plain part
    subject: str = ""
    preheader: str = ""
    html: str = ""
    #: `Name <address>` or an address; empty: what the connection says.
    sender: str = ""
    reply_to: str = ""
    headers: dict[str, str] = {}
    # event (to a marketing tool)
    metric: str = ""
    properties: dict[str, Any] = {}
    #: Identifiers of the profile, as far as known when it was accepted: profile_id, user_id, email, phone.
    recipient: dict[str, str] = {}


class Outgoing(msgspec.Struct, kw_only=True):
    """A message on its way to a provider."""

    id: int
    workspace_id: int
    connection_id: int
    channel: str
    #: E.164 for SMS, an address for email, whatever the connector takes for events.
    address: str
    content: Content
    #: transactional or promotional.
    purpose: str
    metadata: dict[str, Any] = {}
    test: bool = False
    #: Tries before this one.
    tries: int = 0
    created_at: int
    expires_at: int


class Outcome(StrEnum):
    """What one try of a message came to."""

    ACCEPTED = "accepted"  #: The provider has it.
    REJECTED = "rejected"  #: The provider will never take it.
    RETRY = "retry"  #: The provider surely did not take it, and may later.
    UNKNOWN = "unknown"  #: It may have been taken.
    MISCONFIGURED = "misconfigured"  #: Surely not taken, and nothing else will be until somebody mends the connection.


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider's answer, or its absence, means for one message."""

    outcome: Outcome
    #: The delivery failure code (domain.codes) for what is not accepted, should it be final.
    code: int | None = None
    #: Why, in one of our words such as `invalid_number` or `throttled`.
    reason: str | None = None
    #: The provider's own code, verbatim.
    provider_code: str | None = None
    #: The provider's own words, cut to 500 characters.
    detail: str | None = None
    provider_message_id: str | None = None
    #: Why the address must not be written to any more (`opted_out`, `invalid_number`, `bounced`, …), if so.
    suppress: str | None = None
    #: How long the provider asked to wait, in microseconds.
    retry_after: int | None = None


class Receipt(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What a provider says later: of a message, of a person, or in a person's words."""

    workspace_id: int
    connection_id: int
    #: `status` (of a message), `engagement` (opened, clicked, complained, unsubscribed …), `inbound` (a person wrote).
    kind: str = "status"
    #: Our id, where the provider gave it back; it wins over the provider's.
    message_id: int | None = None
    provider_message_id: str | None = None
    #: The provider's id of this very receipt, if it has one.
    receipt_id: str | None = None
    #: When, by the provider's clock; microseconds.
    occurred_at: int
    #: sent, delivered or failed; None when the receipt moves nothing (still under way).
    status: Status | None = None
    code: int | None = None
    reason: str | None = None
    #: The provider's own word for it, verbatim: `CARRIER_BLOCKED`, `30005`, `bounce`.
    provider_code: str | None = None
    detail: str | None = None
    #: Whom it is about: E.164 or an email address, as the provider wrote it.
    address: str | None = None
    parts: int | None = None
    #: Millionths of the currency.
    price_micros: int | None = None
    currency: str | None = None
    carrier: str | None = None
    country: str | None = None
    #: The reason to suppress the address (`opted_out`, `bounced`, `complained`, `invalid_number`), if there is one.
    suppress: str | None = None
    #: For `engagement`: the type of the event, such as `message.opened`.
    event: str | None = None
    #: For `inbound`: what the person wrote, and what it was written to.
    text: str | None = None
    own_address: str | None = None
    #: stop, start or help, where the provider itself says that the person wrote such a word.
    keyword: str | None = None
    #: Whatever else is worth keeping with the event.
    properties: dict[str, Any] = {}
