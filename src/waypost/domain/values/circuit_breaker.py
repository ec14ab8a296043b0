"""A circuit breaker: after repeated failures, pause calls until the other side may have recovered."""

import msgspec

from waypost.clock import SECOND

#: Failures in a row after which the circuit opens.
FAILURE_THRESHOLD = 5
#: The first open time in seconds, times the base; each later one is twice as long, up to the longest.
FIRST_OPEN_S, LONGEST_OPEN_S = 1.0, 60.0


class CircuitBreaker(msgspec.Struct):
    """The recent failures of a connection or endpoint, as one process has seen them."""

    #: Failures in a row.
    failures: int = 0
    #: Until when no call is made, in microseconds.
    open_until: int = 0
    #: The reason and detail of the last failure.
    reason: str | None = None
    detail: str | None = None

    def failing(self, now: int) -> bool:
        """Return whether the circuit is open, so that another connection should be used if there is one."""
        return self.failures >= FAILURE_THRESHOLD and now < self.open_until


def note(breaker: CircuitBreaker, failure: tuple[str | None, str | None] | None, now: int, base_s: float) -> bool:
    """Record the result of a call: reason and detail of its failure, or None. Return whether the circuit opened.

    One call after each open time finds out whether the other side has recovered.
    """
    if failure is None:
        breaker.failures = breaker.open_until = 0
        return False
    if now < breaker.open_until:
        # The call started before the circuit opened, so its failure is not new information.
        return False
    breaker.failures += 1
    breaker.reason, breaker.detail = failure
    if breaker.failures < FAILURE_THRESHOLD:
        return False
    seconds = min(FIRST_OPEN_S * base_s * 2 ** min(breaker.failures - FAILURE_THRESHOLD, 20), LONGEST_OPEN_S)
    breaker.open_until = now + int(seconds * SECOND)
    return breaker.failures == FAILURE_THRESHOLD
