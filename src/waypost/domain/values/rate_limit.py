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


def take_tokens(bucket: Bucket, wanted: int, now: int) -> tuple[int, int]:
    """Take up to `wanted` whole tokens, in place. Return how many, and the microseconds until the next one.

    One clock must fill a bucket.
    """
    # A clock that was set back adds no tokens, and goes on from there.
    passed = max(now - bucket.filled_at, 0) / SECOND
    room = max(bucket.per_second * BURST_S, 1.0)
    bucket.tokens = min(bucket.tokens + passed * bucket.per_second, room)
    bucket.filled_at = now
    granted = min(int(bucket.tokens), wanted)
    bucket.tokens -= granted
    if granted == wanted:
        return granted, 0
    missing = 1.0 - (bucket.tokens - int(bucket.tokens))
    return granted, int(missing / bucket.per_second * SECOND) + 1
