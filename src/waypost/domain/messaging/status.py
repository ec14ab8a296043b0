"""Where a message stands and the one function that moves it: up the ladder, never down, in any order of news."""

import msgspec

from waypost.clock import SECOND
from waypost.domain.messaging.message import Outcome, Receipt, Status, Verdict

#: What a message that was not sent in its time failed with.
EXPIRED = 2008
OTHER = 9988

#: The ladder. News of a higher rung moves a message, news of a lower one is noted and moves nothing.
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
#: A provider that says the same thing of a message again and again does not make its history endless, in characters.
LONGEST_HISTORY = 8000
#: The first retry of a message comes after so many times the base, each later one after twice as long.
LONGEST_RETRY_S = 300.0


class MessageState(msgspec.Struct, array_like=True):
    """The row of a message, without what it says."""

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
    history_length: int


class HistoryEntry(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One line of a message's history."""

    status: Status | None
    #: When, by the clock of whoever said it; microseconds.
    at: int
    code: int | None = None
    reason: str | None = None
    provider_code: str | None = None
    detail: str | None = None
    connection: int | None = None
    #: Of a repeat by hand: what the provider called the tries before it.
    provider_message_id: str | None = None
    #: Set when it moved nothing: it came too late, or says nothing new.
    noted: bool = False


class Transition(msgspec.Struct, kw_only=True):
    """News of a message."""

    status: Status | None
    at: int
    code: int | None = None
    reason: str | None = None
    provider_code: str | None = None
    detail: str | None = None
    provider_message_id: str | None = None
    provider_key: int | None = None
    #: For what is queued again: when it is due, and through which connection.
    due_at: int | None = None
    connection_id: int | None = None
    #: For what is being sent: which process does.
    node: int | None = None
    #: Somebody repeats what failed or is unknown.
    by_hand: bool = False
    #: It tells of a try before the last repeat by hand: only an arrival ends the repeat.
    earlier_try: bool = False
    parts: int | None = None
    price_micros: int | None = None
    currency: str | None = None
    carrier: str | None = None


def transition(standing: MessageState, change: Transition) -> tuple[bool, HistoryEntry | None]:
    """Bring a standing up to date with news of it, in place; whether its status changed, and the line for its history.

    This is the one place where a message's status is set. Whatever the order in which receipts come, the same ones
    lead to the same status, code and reason: a higher rung wins; of two failures the one that happened first.
    """
    _learn(standing, change)
    status = change.status
    if status is None:
        return False, None
    if change.earlier_try and status is not Status.DELIVERED:
        return False, _note(standing, change, noted=True)
    if status is Status.FAILED and standing.status is Status.FAILED:
        if (change.at, change.code or 0, change.reason or "") == _failure(standing):
            return False, None
        if (change.at, change.code or 0, change.reason or "") < _failure(standing):
            _set(standing, change, status)
        return False, _note(standing, change, noted=True)
    if not _may(standing.status, status, change.by_hand):
        known = standing.status is status or RANK[standing.status] > RANK[status]
        # A repeat, or an earlier step told later: worth a line when it was a failure, since it contradicts.
        return False, _note(standing, change, noted=True) if not known or status is Status.FAILED else None
    before = standing.status
    _set(standing, change, status)
    if status is before and change.connection_id is None:
        # Only its time changed.
        return False, None
    return status is not before, _note(standing, change, noted=False)


def _may(present: Status, wanted: Status, by_hand: bool) -> bool:
    """Whether the arrow is in the picture of domain.messages."""
    if wanted in (Status.QUEUED, Status.HELD):
        if by_hand:
            return present in (Status.UNKNOWN, Status.FAILED)
        # Back in the queue, or there already and to go through another connection.
        return present in (Status.SENDING, Status.HELD, Status.QUEUED)
    if wanted is Status.SENDING:
        return present is Status.QUEUED
    if wanted is Status.SKIPPED:
        return present in (Status.QUEUED, Status.HELD)
    if wanted is Status.UNKNOWN:
        return present is Status.SENDING
    return present is not Status.SKIPPED and RANK[wanted] > RANK[present]


def _set(standing: MessageState, change: Transition, status: Status) -> None:
    queued = status is Status.QUEUED or status is Status.HELD
    standing.status = status
    standing.status_at = change.at
    standing.code, standing.reason, standing.provider_code = change.code, change.reason, change.provider_code
    standing.due_at = change.due_at if queued else None
    standing.node = change.node if status is Status.SENDING else None
    if status is Status.SENDING:
        standing.tries += 1
    if change.connection_id is not None:
        standing.connection_id = change.connection_id


def _learn(standing: MessageState, change: Transition) -> None:
    """What news says beside the status; the larger wins, so that the order does not matter."""
    if change.provider_message_id is not None:
        standing.provider_message_id, standing.provider_key = change.provider_message_id, change.provider_key
    standing.parts = _larger(standing.parts, change.parts)
    if change.price_micros is not None and (standing.price_micros or -1) < change.price_micros:
        standing.price_micros, standing.currency = change.price_micros, change.currency
    if change.carrier is not None and change.carrier > (standing.carrier or ""):
        standing.carrier = change.carrier


def _larger(first: int | None, second: int | None) -> int | None:
    return second if first is None or (second is not None and second > first) else first


def _failure(standing: MessageState) -> tuple[int, int, str]:
    return standing.status_at, standing.code or 0, standing.reason or ""


def _note(standing: MessageState, change: Transition, *, noted: bool) -> HistoryEntry | None:
    if noted and standing.history_length > LONGEST_HISTORY:
        return None
    return HistoryEntry(
        status=change.status,
        at=change.at,
        code=change.code,
        reason=change.reason,
        provider_code=change.provider_code,
        detail=change.detail,
        connection=standing.connection_id if change.status is Status.SENDING else None,
        provider_message_id=standing.provider_message_id if change.by_hand else None,
        noted=noted,
    )


def after_verdict(
    standing: MessageState, verdict: Verdict, now: int, *, base_s: float, chance: float, others: list[int]
) -> Transition:
    """The news that a try's verdict is for a message.

    `others` are the connections that it may use besides its present one, in the order in which they are tried: those
    after the present one come first. Empty for a message that is sent through its connection or not at all.
    `base_s` is the wait before the first retry, `chance` in [0, 1) its jitter.
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
    if outcome is Outcome.ACCEPTED:
        change.status, change.code, change.reason = Status.SENT, None, None
    elif outcome is Outcome.REJECTED:
        change.status, change.code = Status.FAILED, verdict.code or OTHER
    elif outcome is Outcome.UNKNOWN:
        change.status = Status.UNKNOWN
    else:
        wait = 0 if outcome is Outcome.MISCONFIGURED else retry_delay(standing.tries, base_s, chance)
        if others:
            # Surely not taken here: the next one may have it at once.
            wait, change.connection_id = 0, others[0]
        due_at = now + max(wait, 0 if others else verdict.retry_after or 0)
        if due_at >= standing.expires_at and outcome is Outcome.RETRY:
            change.status, change.code = Status.FAILED, verdict.code or EXPIRED
        else:
            change.status, change.due_at = Status.QUEUED, due_at
    return change


def retry_delay(tries: int, base_s: float, chance: float) -> int:
    """How long to wait after try number `tries`, in microseconds: doubling, up to five minutes, ±20 %."""
    # Not more doublings than matter: a number too large for a float would raise.
    seconds = min(base_s * 2 ** min(max(tries - 1, 0), 30), LONGEST_RETRY_S)
    return int(seconds * SECOND * (0.8 + 0.4 * chance))


def is_of_earlier_try(standing: MessageState, receipt: Receipt, history: list[HistoryEntry]) -> bool:
    """Return whether a receipt tells of a try before the last repeat of its message by hand.

    It does when it has the provider's id of such a try, when the repeat was not tried yet, or when it is dated before
    the repeat. Providers that take a try of the same message for the same keep its id: then the date decides.
    """
    repeats = [index for index, line in enumerate(history) if line.reason == "by_hand" and not line.noted]
    if not repeats:
        return False
    if not any(line.status is Status.SENDING for line in history[repeats[-1] :]):
        return True
    name = receipt.provider_message_id
    if name is not None and name in {history[index].provider_message_id for index in repeats}:
        # Until the repeat has an answer, the message has the name that its earlier try had.
        if name != standing.provider_message_id or standing.status in (Status.SENDING, Status.UNKNOWN):
            return True
    elif name is not None and name == standing.provider_message_id:
        return False
    # Many providers date in whole seconds.
    return receipt.occurred_at < history[repeats[-1]].at // SECOND * SECOND


def from_receipt(receipt: Receipt) -> Transition:
    """The news that a receipt is for its message."""
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


def skip_reason(channel: str, purpose: str, suppressed: str | None, consent: str | None) -> str | None:
    """Why a message must not be sent, looked at in the last moment; None when it may.

    `suppressed` is the reason for which its address is suppressed, `consent` what the person said: opted_in, opted_out.
    """
    if suppressed is not None:
        return "suppressed"
    if consent == "opted_out" and (purpose == "promotional" or channel == "sms"):
        # Who answered STOP gets no text any more, whatever it is for: so the carriers want it.
        return "not_consented"
    return None
