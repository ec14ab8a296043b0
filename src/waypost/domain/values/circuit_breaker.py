"""A circuit breaker: what fails call after call is left alone until it may have recovered."""

import msgspec

from waypost.clock import SECOND

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


def note(breaker: CircuitBreaker, failure: tuple[str | None, str | None] | None, now: int, base_s: float) -> bool:
    """Take note of a call, with the reason and detail of its failure if it failed; whether the circuit opened by it.

    One call after each open time finds out whether the other side recovered.
    """
    if failure is None:
        breaker.failures = breaker.open_until = 0
        return False
    if now < breaker.open_until:
        # The call was under way when the circuit opened, and tells nothing that was not known then.
        return False
    breaker.failures += 1
    breaker.reason, breaker.detail = failure
    if breaker.failures < FAILURE_THRESHOLD:
        return False
    seconds = min(FIRST_OPEN_S * base_s * 2 ** min(breaker.failures - FAILURE_THRESHOLD, 20), LONGEST_OPEN_S)
    breaker.open_until = now + int(seconds * SECOND)
    return breaker.failures == FAILURE_THRESHOLD
