"""How a connection fares: one that surely takes nothing, call after call, is spared until it may have recovered."""

import msgspec

from waypost.clock import SECOND
from waypost.domain.messaging.message import SendOutcome, Verdict

#: Calls in a row that took nothing, after which a connection counts as failing.
FAILURE_THRESHOLD = 5
#: The first rest takes so many times the base, in seconds; each later one twice as long, up to the longest.
FIRST_OPEN_S, LONGEST_OPEN_S = 1.0, 60.0


class CircuitBreaker(msgspec.Struct):
    """What one process has seen of a connection lately."""

    #: Calls in a row that took nothing.
    failures: int = 0
    #: Until when it is spared; microseconds.
    open_until: int = 0
    #: What the last of them came to.
    reason: str | None = None
    detail: str | None = None

    def failing(self, now: int) -> bool:
        """Whether whoever has another connection should use that one."""
        return self.failures >= FAILURE_THRESHOLD and now < self.open_until


def note(health: CircuitBreaker, verdicts: list[Verdict], now: int, base_s: float) -> bool:
    """Take note of what a call came to; whether the connection came to fail by it.

    A call counts when all of its messages were surely not taken, or the provider answered with an error of its own
    (5xx): in an outage the rest of the queue must not become `unknown` as well. A provider that refuses a number, or
    does not answer, is there. One call after each rest finds out whether it recovered.
    """
    if not all(verdict.outcome is SendOutcome.RETRY or _is_outage(verdict) for verdict in verdicts):
        health.failures = health.open_until = 0
        return False
    if now < health.open_until:
        # It was under way when the rest began, and tells nothing that was not known then.
        return False
    health.failures += 1
    health.reason, health.detail = verdicts[-1].reason, verdicts[-1].detail
    if health.failures < FAILURE_THRESHOLD:
        return False
    rest = min(FIRST_OPEN_S * base_s * 2 ** min(health.failures - FAILURE_THRESHOLD, 20), LONGEST_OPEN_S)
    health.open_until = now + int(rest * SECOND)
    return health.failures == FAILURE_THRESHOLD


def _is_outage(verdict: Verdict) -> bool:
    return verdict.outcome is SendOutcome.UNKNOWN and verdict.reason == "provider_5xx"
