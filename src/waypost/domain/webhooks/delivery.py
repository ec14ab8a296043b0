"""The delivery of an event to a webhook endpoint: its states, its retries, and the decision after an attempt.

pending ──2xx──▶ delivered ──replay──▶ pending
   │ ▲
   │ └── failed, tries left; or retried by a user (from dead)
   └──────▶ dead: no tries left, 410 Gone, rejected, endpoint deleted, event expired
"""

from enum import StrEnum

import msgspec

from waypost.clock import DAY, HOUR, MINUTE, SECOND
from waypost.domain.webhooks import klaviyo

RETRIES = 10
#: The largest relative change of a delay, so that failed deliveries are not retried all at once.
JITTER = 0.05
#: Statuses that ask for less traffic (Standard Webhooks, operational considerations; 503 is an addition of Waypost).
SLOW_DOWN = frozenset({429, 502, 503, 504})
#: The longest delay that a Retry-After sets, in microseconds: with it, ten retries still fit in a day.
LONGEST_STRETCH = 5 * MINUTE
#: The longest pause of a whole lane that a Retry-After sets, in microseconds.
LONGEST_ASKED = HOUR
#: The bytes that are stored of the body of a response.
KEPT_BODY = 4096


class State(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"  #: It waits for its first try or for the next one.
    DELIVERED = "delivered"  #: The endpoint responded with 2xx.
    DEAD = "dead"  #: Waypost gave up; it stays listed and can be replayed.


class AttemptOutcome(StrEnum):
    """The outcome of an attempt."""

    DELIVERED = "delivered"  #: 2xx.
    FAILED = "failed"  #: Anything else.
    GONE = "gone"  #: 410: the receiver wants no more deliveries.
    REJECTED = "rejected"  #: A marketing tool will never accept this one, or its format cannot write it.


class DeliveryDecision(msgspec.Struct, frozen=True):
    """The state of a delivery after an attempt."""

    state: State
    #: When the next try is due, for a pending delivery; microseconds.
    due_at: int | None
    #: Why the endpoint must be disabled, or None.
    disable: str | None = None
    #: Why the delivery is dead although the endpoint works, or None.
    reason: str | None = None


_DELIVERED = DeliveryDecision(State.DELIVERED, None)


#: Statuses with which a marketing tool refuses an event for good.
_REFUSED_FOR_GOOD = frozenset({400, 409, 413, 415, 422})


def judge(status: int | None, format_: str = "standard") -> AttemptOutcome:
    """Return the outcome of an attempt by the status of the response; None means that there was none."""
    if status is not None and 200 <= status < 300:
        return AttemptOutcome.DELIVERED
    if format_ == klaviyo.FORMAT:
        return AttemptOutcome.REJECTED if status in _REFUSED_FOR_GOOD else AttemptOutcome.FAILED
    return AttemptOutcome.GONE if status == 410 else AttemptOutcome.FAILED


def settle(
    outcome: AttemptOutcome, tries: int, now: int, *, retry_base: float, chance: float, retry_after: int | None = None
) -> DeliveryDecision:
    """Return the decision on a delivery whose try number `tries` (the first is 1) ended at `now`, in microseconds.

    `retry_base` is the first delay in seconds, `chance` in [0, 1) sets the jitter, `retry_after` is how long the
    receiver asked to wait, in microseconds, followed up to LONGEST_STRETCH.
    """
    if outcome is AttemptOutcome.DELIVERED:
        return _DELIVERED
    if outcome is AttemptOutcome.GONE:
        return DeliveryDecision(State.DEAD, None, "gone")
    if outcome is AttemptOutcome.REJECTED:
        return DeliveryDecision(State.DEAD, None, reason="rejected")
    if tries > RETRIES:
        return DeliveryDecision(State.DEAD, None, "exhausted")
    return DeliveryDecision(
        State.PENDING, now + max(delay(tries, retry_base, chance), min(retry_after or 0, LONGEST_STRETCH))
    )


def delay(tries: int, retry_base: float, chance: float) -> int:
    """Return the delay after try number `tries`, in microseconds."""
    return int(retry_base * SECOND * 2 ** (tries - 1) * (1 + JITTER * (2 * chance - 1)))


def schedule(retry_base: float) -> int:
    """Return the time from the first to the last retry of a delivery, in microseconds: a day for a base of 80 seconds.

    An endpoint whose attempts all fail for this long is disabled, however few tries each delivery had. The minimum is a
    minute, for the short bases of tests and demos.
    """
    return max(int(DAY * retry_base / 80), MINUTE)
