"""A rate limit as a token bucket."""

import msgspec

from waypost.clock import SECOND

#: A bucket holds what it fills with in this time, in seconds: so much may leave at once after a rest.
BURST_S = 0.1


class Bucket(msgspec.Struct):
    """A token bucket; it holds little, so that no second sees much more than its rate."""

    id: int
    per_second: float
    tokens: float
    filled_at: int


def take_tokens(bucket: Bucket, wanted: int, now: int) -> tuple[int, int]:
    """Take up to `wanted` whole tokens, in place; how many were there, and the microseconds until there is another."""
    # A clock that was set back fills nothing.
    passed = max(now - bucket.filled_at, 0) / SECOND
    room = max(bucket.per_second * BURST_S, 1.0)
    bucket.tokens = min(bucket.tokens + passed * bucket.per_second, room)
    bucket.filled_at = max(now, bucket.filled_at)
    granted = min(int(bucket.tokens), wanted)
    bucket.tokens -= granted
    if granted == wanted:
        return granted, 0
    missing = 1.0 - (bucket.tokens - int(bucket.tokens))
    return granted, int(missing / bucket.per_second * SECOND) + 1
