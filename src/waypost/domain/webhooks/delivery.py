"""A webhook owed to an endpoint until it lands or is given up, and what becomes of it after an attempt.

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
#: Every delay is stretched or shrunk by up to this share, so that failed deliveries do not come back together.
JITTER = 0.05
#: Answers that ask for less traffic (Standard Webhooks, operational considerations; 503 is ours).
SLOW_DOWN = frozenset({429, 502, 503, 504})
#: First 4 KB of an answer's body are kept.
KEPT_BODY = 4096


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"  #: It is owed: waiting for its first try or for the next one.
    DELIVERED = "delivered"  #: The endpoint answered 2xx.
    DEAD = "dead"  #: It was given up; it stays listed and can be replayed.


class Outcome(StrEnum):
    """What an attempt came to."""

    DELIVERED = "delivered"  #: 2xx.
    FAILED = "failed"  #: Anything else.
    GONE = "gone"  #: 410: the receiver wants no more of it.


class Settled(msgspec.Struct, frozen=True):
    """What becomes of a delivery after an attempt."""

    state: State
    #: When the next try is due, for a pending one.
    due_at: int | None
    #: Why the endpoint has to be disabled, if it has to be.
    disable: str | None = None


def judge(status: int | None) -> Outcome:
    """What an answer's status means; None is no answer at all."""
    if status is not None and 200 <= status < 300:
        return Outcome.DELIVERED
    return Outcome.GONE if status == 410 else Outcome.FAILED


def settle(
    outcome: Outcome, tries: int, now: int, *, retry_base: float, chance: float, retry_after: int | None = None
) -> Settled:
    """What becomes of a delivery whose try number `tries` (1 is the first) ended now.

    `chance` in [0, 1) sets the jitter, `retry_after` is how long the receiver asked to wait, in microseconds.
    """
    if outcome is Outcome.DELIVERED:
        return Settled(State.DELIVERED, None)
    if outcome is Outcome.GONE:
        return Settled(State.DEAD, None, "gone")
    if tries > RETRIES:
        return Settled(State.DEAD, None, "exhausted")
    return Settled(State.PENDING, now + max(delay(tries, retry_base, chance), retry_after or 0))


def delay(tries: int, retry_base: float, chance: float) -> int:
    """How long to wait after try number `tries`, in microseconds."""
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
