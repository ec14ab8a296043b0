"""A webhook owed to an endpoint until it lands or is given up, and what becomes of it after an attempt.

pending ──2xx──▶ delivered ──replay──▶ pending
   │ ▲
   │ └── failed, tries left; or retried by hand (from dead)
   └──────▶ dead: tries used up, 410 Gone, endpoint deleted, event expired
"""

from enum import StrEnum

import msgspec

from waypost.clock import DAY, HOUR, MINUTE, SECOND

RETRIES = 10
#: Every delay is stretched or shrunk by up to this share, so that failed deliveries do not come back together.
JITTER = 0.05
#: Answers that ask for less traffic (Standard Webhooks, operational considerations; 503 is ours).
SLOW_DOWN = frozenset({429, 502, 503, 504})
#: A Retry-After stretches a delay up to here, in microseconds: then ten retries still fit in a day.
LONGEST_STRETCH = 5 * MINUTE
#: A Retry-After that asks for less traffic pauses a whole lane up to here, in microseconds.
LONGEST_ASKED = HOUR
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

    `chance` in [0, 1) sets the jitter, `retry_after` is how long the receiver asked to wait, in microseconds; it is
    followed as far as the schedule holds.
    """
    if outcome is Outcome.DELIVERED:
        return Settled(State.DELIVERED, None)
    if outcome is Outcome.GONE:
        return Settled(State.DEAD, None, "gone")
    if tries > RETRIES:
        return Settled(State.DEAD, None, "exhausted")
    return Settled(State.PENDING, now + max(delay(tries, retry_base, chance), min(retry_after or 0, LONGEST_STRETCH)))


def delay(tries: int, retry_base: float, chance: float) -> int:
    """How long to wait after try number `tries`, in microseconds."""
    return int(retry_base * SECOND * 2 ** (tries - 1) * (1 + JITTER * (2 * chance - 1)))


def schedule(retry_base: float) -> int:
    """How long the retries of one delivery are spread over, in microseconds: a day, for a base of 80 seconds.

    An endpoint that took nothing for so long is given up, however few of a delivery's tries it came to. It gets a
    minute where tests and demos shrink the base.
    """
    return max(int(DAY * retry_base / 80), MINUTE)
