"""Messages to one person: content, status, send outcome and receipt.

The transitions between statuses (`transition` in status.py applies them):

queued ──claimed──▶ sending ──accepted by the provider──▶ sent ──▶ delivered
  │  ▲                │ │ └──result unknown──▶ unknown ──▶ sent, delivered, failed (by a receipt)
  │  └──certainly not─┘ │                         └──resent by a user──▶ queued
  │     accepted        └──rejected──▶ failed ──late receipt──▶ delivered
  ├──held──▶ queued, skipped, failed         sent ──▶ failed
  └──▶ skipped, failed (expired)
"""

from enum import StrEnum
from typing import Any

import msgspec


class Status(StrEnum):
    """The status of a message."""

    QUEUED = "queued"  #: Waits for its due time, its turn or its next try.
    HELD = "held"  #: A check or a sending rule does not let it pass yet; `reason` names it.
    SENDING = "sending"  #: A process is about to send it, or is sending it.
    SENT = "sent"  #: The provider accepted it.
    DELIVERED = "delivered"  #: The provider reported delivery.
    FAILED = "failed"  #: It was not delivered; `code` and `reason` say why.
    SKIPPED = "skipped"  #: It was not sent; `reason` says why.
    UNKNOWN = "unknown"  #: It may or may not have been sent. It is never repeated without a request.


class Content(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The rendered content of a message. Which fields are used depends on the channel."""

    # sms
    text: str = ""
    media_urls: list[str] = []
    click_url: str = ""
    # email: `text` is its plain part
    subject: str = ""
    preheader: str = ""
    html: str = ""
    #: `Name <address>` or an address; if empty, the sender of the connection.
    sender: str = ""
    reply_to: str = ""
    headers: dict[str, str] = {}
    # event (to a marketing tool)
    metric: str = ""
    properties: dict[str, Any] = {}
    #: Identifiers of the profile that were known at acceptance: profile_id, user_id, email, phone.
    recipient: dict[str, str] = {}


class Outgoing(msgspec.Struct, kw_only=True):
    """A message to send to a provider."""

    id: int
    workspace_id: int
    connection_id: int
    channel: str
    #: E.164 for SMS, an email address for email; for events, what the connector expects.
    address: str
    content: Content
    #: `transactional` or `promotional`.
    purpose: str
    metadata: dict[str, Any] = {}
    test: bool = False
    #: Tries before this one.
    tries: int = 0
    #: For a mail: the address for its bounces, if it has one of its own.
    return_path: str = ""
    created_at: int
    expires_at: int


class SendOutcome(StrEnum):
    """The outcome of one try to send a message."""

    ACCEPTED = "accepted"  #: The provider accepted it.
    REJECTED = "rejected"  #: The provider will never accept it.
    RETRY = "retry"  #: The provider certainly did not accept it, and may later.
    UNKNOWN = "unknown"  #: The provider may have accepted it.
    MISCONFIGURED = "misconfigured"  #: Certainly not accepted, nor is any other until the connection is corrected.


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider's response, or its absence, means for one message."""

    outcome: SendOutcome
    #: The delivery failure code (failure_codes.py) if the outcome is not `accepted` and becomes final.
    code: int | None = None
    #: The reason, a word of Waypost such as `invalid_number` or `throttled`.
    reason: str | None = None
    #: The provider's own code, verbatim.
    provider_code: str | None = None
    #: The provider's error text, at most 500 characters.
    detail: str | None = None
    provider_message_id: str | None = None
    #: The reason to suppress the address (`opted_out`, `invalid_number`, `bounced`, …), if there is one.
    suppress: str | None = None
    #: How long the provider asked to wait before a retry, in microseconds.
    retry_after: int | None = None


class Receipt(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A later report from a provider: a message status, an engagement, or an inbound message."""

    workspace_id: int
    connection_id: int
    #: `status` (of a message), `engagement` (opened, clicked, complained, unsubscribed …) or `inbound` (a reply).
    kind: str = "status"
    #: Waypost's id of the message, if the provider returned it; takes precedence over the provider's id.
    message_id: int | None = None
    provider_message_id: str | None = None
    #: The provider's id of this receipt, if it has one.
    receipt_id: str | None = None
    #: When it happened by the provider's clock, in microseconds.
    occurred_at: int
    #: sent, delivered or failed; None if the receipt does not change the status (still in progress).
    status: Status | None = None
    code: int | None = None
    reason: str | None = None
    #: The provider's status or error code, verbatim: `CARRIER_BLOCKED`, `30005`, `bounce`.
    provider_code: str | None = None
    detail: str | None = None
    #: The recipient: E.164 or an email address, as the provider wrote it.
    address: str | None = None
    parts: int | None = None
    #: In millionths of the currency.
    price_micros: int | None = None
    currency: str | None = None
    carrier: str | None = None
    country: str | None = None
    #: The reason to suppress the address (`opted_out`, `bounced`, `complained`, `invalid_number`), if there is one.
    suppress: str | None = None
    #: For an email that failed: whether it bounced for good (`permanent`), for now (`transient`) or `undetermined`.
    bounce: str | None = None
    #: For `engagement`: the type of the event, such as `email.opened`.
    event: str | None = None
    #: For `inbound`: the text, and the number that received it.
    text: str | None = None
    own_address: str | None = None
    #: `stop`, `start` or `help`, if the provider itself recognised such a keyword.
    keyword: str | None = None
    #: Other properties to store with the event.
    properties: dict[str, Any] = {}
