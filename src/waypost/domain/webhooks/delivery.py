"""The delivery of an event to a webhook endpoint: its states, its retries, and the decision after an attempt.

pending ──2xx──▶ delivered ──replay──▶ pending
   │ ▲
   │ └── failed, tries left; or retried by hand (from dead)
   └──────▶ dead: tries used up, 410 Gone, endpoint deleted, event expired
"""

from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum

import msgspec

from waypost.clock import DAY, SECOND

RETRIES = 10
#: The largest relative change of a delay, so that failed deliveries are not retried all at once.
JITTER = 0.05
#: Statuses that ask for less traffic (Standard Webhooks, operational considerations; 503 is an addition of Waypost).
SLOW_DOWN = frozenset({429, 502, 503, 504})
#: Bytes that are kept of the body of a response.
KEPT_BODY = 4096


class State(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"  #: It waits for its first try or for the next one.
    DELIVERED = "delivered"  #: The endpoint answered 2xx.
    DEAD = "dead"  #: Waypost gave it up; it stays listed and can be replayed.


class AttemptOutcome(StrEnum):
    """The outcome of an attempt."""

    DELIVERED = "delivered"  #: 2xx.
    FAILED = "failed"  #: Anything else.
    GONE = "gone"  #: 410: the receiver wants no more deliveries.


class DeliveryDecision(msgspec.Struct, frozen=True):
    """The state of a delivery after an attempt."""

    state: State
    #: When the next try is due, for a pending delivery; microseconds.
    due_at: int | None
    #: Why the endpoint must be disabled, or None.
    disable: str | None = None


def judge(status: int | None) -> AttemptOutcome:
    """Return the outcome that a response status means; None means no response."""
    if status is not None and 200 <= status < 300:
        return AttemptOutcome.DELIVERED
    return AttemptOutcome.GONE if status == 410 else AttemptOutcome.FAILED


def settle(
    outcome: AttemptOutcome, tries: int, now: int, *, retry_base: float, chance: float, retry_after: int | None = None
) -> DeliveryDecision:
    """Return the decision on a delivery whose try number `tries` (the first is 1) ended at `now`, in microseconds.

    `retry_base` is the first delay in seconds, `chance` in [0, 1) sets the jitter, `retry_after` is how long the
    receiver asked to wait, in microseconds.
    """
    if outcome is AttemptOutcome.DELIVERED:
        return DeliveryDecision(State.DELIVERED, None)
    if outcome is AttemptOutcome.GONE:
        return DeliveryDecision(State.DEAD, None, "gone")
    if tries > RETRIES:
        return DeliveryDecision(State.DEAD, None, "exhausted")
    return DeliveryDecision(State.PENDING, now + max(delay(tries, retry_base, chance), retry_after or 0))


def delay(tries: int, retry_base: float, chance: float) -> int:
    """Return the delay after try number `tries`, in microseconds."""
    return int(retry_base * SECOND * 2 ** (tries - 1) * (1 + JITTER * (2 * chance - 1)))


def retry_after(value: str | None, now: int) -> int | None:
    """How long a Retry-After header asks to wait, in microseconds: at most a day, never less than nothing."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(int(text.lstrip("0")[:12] or "0") * SECOND, DAY)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        # An offset of -0000 is UTC as well, and not this machine's zone.
        moment = moment.replace(tzinfo=UTC)
    return min(max(int(moment.timestamp()) * SECOND - now, 0), DAY)
