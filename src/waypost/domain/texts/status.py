"""The statuses of the text-message API, and how they follow from the status of a message."""

from collections.abc import Collection
from enum import StrEnum

from waypost.domain.messaging.message import Status
from waypost.domain.messaging.status import MessageState


class TextStatus(StrEnum):
    """What the calling tool is told of a text, in the spelling of the API that this one replaces.

    PENDING_TO_SEND ─▶ SENDING ─▶ DELIVERED
           │              └─────▶ FAILED_TO_DELIVERY
           ├────────────────────▶ FAILED_TO_SEND
           └────────────────────▶ NOT_SUBSCRIBED   (opted out before it was sent)
    NOT_FOUND, NOT_SUBSCRIBED and FAILED_TO_MATCH may also come first; then no text is sent.
    """

    PENDING_TO_SEND = "PENDING_TO_SEND"  #: It was accepted, and waits to be sent.
    SENDING = "SENDING"  #: The provider has it, or may have it.
    DELIVERED = "DELIVERED"  #: The carrier delivered it.
    FAILED_TO_SEND = "FAILED_TO_SEND"  #: It did not come to the provider, or the provider refused it.
    FAILED_TO_DELIVERY = "FAILED_TO_DELIVERY"  #: The provider had it, and it was not delivered.
    NOT_FOUND = "NOT_FOUND"  #: No subscription is known for the number.
    NOT_SUBSCRIBED = "NOT_SUBSCRIBED"  #: The number is known, and not subscribed.
    FAILED_TO_MATCH = "FAILED_TO_MATCH"  #: The email leads to no person with a number, or to too many numbers.


#: The reason of a skipped message for each status that the API answers at once.
REASONS = {
    TextStatus.NOT_FOUND: "not_found",
    TextStatus.NOT_SUBSCRIBED: "not_subscribed",
    TextStatus.FAILED_TO_MATCH: "failed_to_match",
}
_BY_REASON = {reason: status for status, reason in REASONS.items()} | {
    # What subscriptions and suppressions say just before the sending.
    "not_consented": TextStatus.NOT_SUBSCRIBED,
    "suppressed": TextStatus.NOT_SUBSCRIBED,
}
_HANDED_OVER = frozenset({Status.SENT, Status.UNKNOWN, Status.DELIVERED})


def text_status(status: Status, reason: str | None, *, handed_over: bool) -> TextStatus:
    """Return the status that a message has in the text API. `handed_over`: the provider has had it."""
    if status in (Status.QUEUED, Status.HELD, Status.SENDING):
        return TextStatus.PENDING_TO_SEND
    if status in (Status.SENT, Status.UNKNOWN):
        return TextStatus.SENDING
    if status is Status.DELIVERED:
        return TextStatus.DELIVERED
    if status is Status.SKIPPED:
        return _BY_REASON.get(reason or "", TextStatus.FAILED_TO_SEND)
    return TextStatus.FAILED_TO_DELIVERY if handed_over else TextStatus.FAILED_TO_SEND


def current_text_status(
    status: Status, reason: str | None, provider_message_id: str | None, reached: Collection[Status]
) -> TextStatus:
    """Return the status of a text whose message has reached these statuses."""
    handed_over = provider_message_id is not None or not _HANDED_OVER.isdisjoint(reached)
    return text_status(status, reason, handed_over=handed_over)


def reported_statuses(before: Status | None, state: MessageState) -> list[TextStatus]:
    """Return what the calling tool is told when a message has just come to its state, in order.

    `before` is the previous status, or None for a new message. A receipt may be recorded before the provider's
    response: then the text was sent and delivered, and both are reported.
    """
    was_handed_over = before in _HANDED_OVER
    handed_over = was_handed_over or state.provider_message_id is not None
    found = text_status(state.status, state.reason, handed_over=handed_over)
    if found is TextStatus.PENDING_TO_SEND:
        # Queued again after a try, it is pending still.
        return [found] if before is None or before in (Status.FAILED, Status.SKIPPED) else []
    if found is TextStatus.SENDING:
        return [] if was_handed_over else [found]
    skipped_a_step = not was_handed_over and before is not Status.FAILED
    if skipped_a_step and found in (TextStatus.DELIVERED, TextStatus.FAILED_TO_DELIVERY):
        return [TextStatus.SENDING, found]
    return [found]
