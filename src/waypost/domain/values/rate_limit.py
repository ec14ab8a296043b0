"""A rate limit as a token bucket."""

import msgspec

from waypost.clock import SECOND

#: The capacity of a bucket in seconds of its rate: the burst after an idle period.
BURST_S = 0.1


class Bucket(msgspec.Struct):
    """A token bucket with a small capacity, so that no second exceeds its rate by much."""

    id: int
    per_second: float
    tokens: float
    filled_at: int


def take_tokens(bucket: Bucket, requested: int, now: int, burst_s: float = BURST_S) -> tuple[int, int]:
    """Take up to `requested` whole tokens, in place. Return how many, and the microseconds until the next one.

    All calls for a bucket must pass the time of the same clock. `burst_s` is its capacity in seconds of the rate.
    """
    # A clock that was set back adds no tokens; the bucket fills from the new time on.
    passed = max(now - bucket.filled_at, 0) / SECOND
    room = max(bucket.per_second * burst_s, 1.0)
    bucket.tokens = min(bucket.tokens + passed * bucket.per_second, room)
    bucket.filled_at = now
    granted = min(int(bucket.tokens), requested)
    bucket.tokens -= granted
    if granted == requested:
        return granted, 0
    missing = 1.0 - (bucket.tokens - int(bucket.tokens))
    return granted, int(missing / bucket.per_second * SECOND) + 1
