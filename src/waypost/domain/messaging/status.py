"""The state of a message, and `transition`, the only function that changes its status."""

import msgspec

from waypost.clock import SECOND
from waypost.domain.audience.subscriptions import SubscriptionState
from waypost.domain.messaging.message import Receipt, SendOutcome, Status, Verdict

#: The failure codes of messages that expired, and of failures without a code of their own.
EXPIRED = 2008
OTHER = 9988

#: A transition to a status of higher rank is applied; one to a lower rank is noted in the history at most.
RANK = {
    Status.QUEUED: 0,
    Status.HELD: 0,
    Status.SENDING: 1,
    Status.UNKNOWN: 2,
    Status.SENT: 3,
    Status.FAILED: 4,
    Status.DELIVERED: 5,
    Status.SKIPPED: 6,
}
#: The longest history in characters, because a provider may repeat the same receipts.
LONGEST_HISTORY = 8000
#: The longest wait before a retry, in seconds.
LONGEST_RETRY_S = 300.0


class MessageState(msgspec.Struct, array_like=True):
    """The row of a message, without its content."""

    id: int
    workspace_id: int
    profile_id: int | None
    channel: str
    connection_id: int
    pinned: int
    address: str
    status: Status
    status_at: int
    code: int | None
    reason: str | None
    provider_code: str | None
    provider_message_id: str | None
    provider_key: int | None
    template_id: int
    campaign: str
    metadata: str
    test: int
    tries: int
    due_at: int | None
    expires_at: int
    node: int | None
    parts: int | None
    price_micros: int | None
    currency: str | None
    carrier: str | None
    #: The client of the text-message API that asked for it, or None.
    text_client_id: int | None
    #: The occurrence of a campaign that it belongs to, and the variant of its template; None for other messages.
    occurrence_id: int | None
    variant: str | None
    history_length: int


class HistoryEntry(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One entry in the history of a message."""

    status: Status | None
    #: When, by the clock of the source, in microseconds.
    at: int
    code: int | None = None
    reason: str | None = None
    provider_code: str | None = None
    detail: str | None = None
    connection: int | None = None
    #: For a resend by a user: the provider's id of the tries before it.
    provider_message_id: str | None = None
    #: Whether it did not change the status: it was late, or contradicts an earlier one.
    noted: bool = False


class Transition(msgspec.Struct, kw_only=True):
    """A change of a message: its new status, and what the source reports with it."""

    status: Status | None
    at: int
    code: int | None = None
    reason: str | None = None
    provider_code: str | None = None
    detail: str | None = None
    provider_message_id: str | None = None
    provider_key: int | None = None
    #: For a message that is queued again: when it is due, and through which connection.
    due_at: int | None = None
    connection_id: int | None = None
    #: For a message that is being sent: the process that sends it.
    node: int | None = None
    #: Whether a user resends a message that failed or is unknown.
    by_hand: bool = False
    #: Whether it is about a try before the last resend: then only `delivered` changes the status.
    earlier_try: bool = False
    parts: int | None = None
    price_micros: int | None = None
    currency: str | None = None
    carrier: str | None = None


def transition(state: MessageState, change: Transition) -> tuple[bool, HistoryEntry | None]:
    """Apply a transition to a state, in place. Return whether the status changed, and the history entry, if any.

    This is the only place that sets the status of a message. The same receipts lead to the same status, code and
    reason in any order: the higher rank wins; of two failures, the earlier one.
    """
    _merge_details(state, change)
    status = change.status
    if status is None:
        return False, None
    if change.earlier_try and status is not Status.DELIVERED:
        return False, _history_entry(state, change, noted=True)
    if status is Status.FAILED and state.status is Status.FAILED:
        if (change.at, change.code or 0, change.reason or "") == _failure(state):
            return False, None
        if (change.at, change.code or 0, change.reason or "") < _failure(state):
            _set(state, change, status)
        return False, _history_entry(state, change, noted=True)
    if not _is_allowed(state.status, status, change.by_hand):
        known = state.status is status or RANK[state.status] > RANK[status]
        # A repeat, or an earlier step reported late. A failure is noted, since it contradicts the status.
        return False, _history_entry(state, change, noted=True) if not known or status is Status.FAILED else None
    before = state.status
    _set(state, change, status)
    if status is before and change.connection_id is None:
        # Only the due time changed.
        return False, None
    return status is not before, _history_entry(state, change, noted=False)


def _is_allowed(present: Status, target: Status, by_hand: bool) -> bool:
    """Return whether the diagram in message.py has this transition."""
    if target in (Status.QUEUED, Status.HELD):
        if by_hand:
            return present in (Status.UNKNOWN, Status.FAILED)
        # Back in the queue, or queued already and moved to another connection.
        return present in (Status.SENDING, Status.HELD, Status.QUEUED)
    if target is Status.SENDING:
        return present is Status.QUEUED
    if target is Status.SKIPPED:
        return present in (Status.QUEUED, Status.HELD)
    if target is Status.UNKNOWN:
        return present is Status.SENDING
    return present is not Status.SKIPPED and RANK[target] > RANK[present]


def _set(state: MessageState, change: Transition, status: Status) -> None:
    queued = status is Status.QUEUED or status is Status.HELD
    state.status = status
    state.status_at = change.at
    state.code, state.reason, state.provider_code = change.code, change.reason, change.provider_code
    state.due_at = change.due_at if queued else None
    state.node = change.node if status is Status.SENDING else None
    if status is Status.SENDING:
        state.tries += 1
    if change.connection_id is not None:
        state.connection_id = change.connection_id


def _merge_details(state: MessageState, change: Transition) -> None:
    """Take over parts, price, carrier and ids. The larger value wins, so that the order does not matter."""
    if change.provider_message_id is not None:
        state.provider_message_id, state.provider_key = change.provider_message_id, change.provider_key
    state.parts = _larger(state.parts, change.parts)
    if change.price_micros is not None and (state.price_micros or -1) < change.price_micros:
        state.price_micros, state.currency = change.price_micros, change.currency
    if change.carrier is not None and change.carrier > (state.carrier or ""):
        state.carrier = change.carrier


def _larger(first: int | None, second: int | None) -> int | None:
    return second if first is None or (second is not None and second > first) else first


def _failure(state: MessageState) -> tuple[int, int, str]:
    return state.status_at, state.code or 0, state.reason or ""


def _history_entry(state: MessageState, change: Transition, *, noted: bool) -> HistoryEntry | None:
    if noted and state.history_length > LONGEST_HISTORY:
        return None
    return HistoryEntry(
        status=change.status,
        at=change.at,
        code=change.code,
        reason=change.reason,
        provider_code=change.provider_code,
        detail=change.detail,
        connection=state.connection_id if change.status is Status.SENDING else None,
        provider_message_id=state.provider_message_id if change.by_hand else None,
        noted=noted,
    )


def transition_after(
    state: MessageState, verdict: Verdict, now: int, *, base_s: float, chance: float, others: list[int]
) -> Transition:
    """Return the transition that follows from the verdict on one try.

    `others` are the connections that the message may use besides its present one, in the order in which they are
    tried, those after the present one first. It is empty for a message that is pinned to its connection. `base_s` is
    the wait before the first retry in seconds, `chance` in [0, 1) its jitter.
    """
    change = Transition(
        status=None,
        at=now,
        code=verdict.code,
        reason=verdict.reason,
        provider_code=verdict.provider_code,
        detail=verdict.detail,
        provider_message_id=verdict.provider_message_id,
    )
    outcome = verdict.outcome
    if outcome is SendOutcome.ACCEPTED:
        change.status, change.code, change.reason = Status.SENT, None, None
    elif outcome is SendOutcome.REJECTED:
        change.status, change.code = Status.FAILED, verdict.code or OTHER
    elif outcome is SendOutcome.UNKNOWN:
        change.status = Status.UNKNOWN
    else:
        wait = 0 if outcome is SendOutcome.MISCONFIGURED else retry_delay(state.tries, base_s, chance)
        if others:
            # Certainly not accepted here, so the next connection may send it at once.
            wait, change.connection_id = 0, others[0]
        due_at = now + max(wait, 0 if others else verdict.retry_after or 0)
        if due_at >= state.expires_at and outcome is SendOutcome.RETRY:
            change.status, change.code = Status.FAILED, verdict.code or EXPIRED
        else:
            change.status, change.due_at = Status.QUEUED, due_at
    return change


def retry_delay(tries: int, base_s: float, chance: float) -> int:
    """Return the wait after try number `tries` in microseconds: it doubles, up to five minutes, ±20 %."""
    # Limited, because a power too large for a float would raise.
    seconds = min(base_s * 2 ** min(max(tries - 1, 0), 30), LONGEST_RETRY_S)
    return int(seconds * SECOND * (0.8 + 0.4 * chance))


def is_of_earlier_try(state: MessageState, receipt: Receipt, history: list[HistoryEntry]) -> bool:
    """Return whether a receipt is about a try before the last resend of its message by a user.

    It is if it has the provider's id of such a try, if the resent message was not tried yet, or if it is dated before
    the resend. A provider that deduplicates messages returns the same id for both tries: then the date decides.
    """
    resends = [index for index, entry in enumerate(history) if entry.reason == "by_hand" and not entry.noted]
    if not resends:
        return False
    if not any(entry.status is Status.SENDING for entry in history[resends[-1] :]):
        return True
    provider_id = receipt.provider_message_id
    if provider_id is not None and provider_id in {history[index].provider_message_id for index in resends}:
        # Until the resend gets a response, the message has the provider's id of the earlier try.
        if provider_id != state.provider_message_id or state.status in (Status.SENDING, Status.UNKNOWN):
            return True
    elif provider_id is not None and provider_id == state.provider_message_id:
        return False
    # Many providers send times in whole seconds.
    return receipt.occurred_at < history[resends[-1]].at // SECOND * SECOND


def from_receipt(receipt: Receipt) -> Transition:
    """Return the transition that a receipt asks for."""
    return Transition(
        status=receipt.status,
        at=receipt.occurred_at,
        code=receipt.code,
        reason=receipt.reason,
        provider_code=receipt.provider_code,
        detail=receipt.detail,
        parts=receipt.parts,
        price_micros=receipt.price_micros,
        currency=receipt.currency,
        carrier=receipt.carrier,
    )


def skip_reason(channel: str, purpose: str, suppressed: str | None, subscription: str | None) -> str | None:
    """Return why a message must not be sent, checked just before sending, or None if it may be.

    `suppressed` is the reason for which its address is suppressed; `subscription` is `subscribed`, `unsubscribed` or
    None.
    """
    if suppressed is not None:
        return "suppressed"
    if subscription == SubscriptionState.UNSUBSCRIBED and (purpose == "promotional" or channel == "sms"):
        # After STOP no text may be sent, transactional or not: US carriers require it.
        return "not_consented"
    return None
