"""The clock, and the ids generated from it. No other module reads the wall clock."""

import time
from datetime import UTC, datetime

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
#: What the clock of another machine may be ahead by.
CLOCKS_DIFFER = 60 * SECOND

#: 2020-01-01T00:00:00Z in microseconds since 1970, the zero of the time in ids.
ID_EPOCH = 1_577_836_800 * SECOND
#: The low bits of an id are the number of the process that generated it (a row of `nodes`).
NODE_BITS = 12
NODES = 1 << NODE_BITS

_last_second = (-1, "")


def now_us() -> int:
    """Return the current time in microseconds since 1970-01-01T00:00:00Z."""
    return time.time_ns() // 1000


def iso(at: int) -> str:
    """Return a time (years 1 to 9999) as `2026-09-21T13:33:20.000000Z`."""
    # Most times of a batch are in the same second, so its text is cached: as one tuple, because threads share it.
    global _last_second
    second, micro = divmod(at, SECOND)
    known, text = _last_second
    if second != known:
        text = datetime.fromtimestamp(second, UTC).isoformat()[:19]
        _last_second = (second, text)
    return f"{text}.{micro:06d}Z"


def first_id(at: int) -> int:
    """Return the smallest id that can have been generated at this time or later."""
    return max(at - ID_EPOCH, 0) << NODE_BITS


def id_time(value: int) -> int:
    """Return when an id was generated, in microseconds since 1970."""
    return (value >> NODE_BITS) + ID_EPOCH


def iso_or_none(at: int | None) -> str | None:
    """Return a time as `iso` does; None for none."""
    return None if at is None else iso(at)


class Ids:
    """Generates 63-bit ids that increase with time and are unique across processes.

    An id consists of the microsecond of its generation and the number of the node. A node generates at most one id per
    microsecond; further ids take the next microseconds.
    """

    def __init__(self, node: int) -> None:
        self.node = node
        self._last = 0

    def start_after(self, value: int) -> None:
        """Generate only ids greater than this one, even if the clock was set back."""
        self._last = max(self._last, value >> NODE_BITS)

    def take(self, count: int, now: int) -> range:
        """Return the next `count` ids in ascending order."""
        first = max(now - ID_EPOCH, self._last + 1)
        self._last = first + count - 1
        start = (first << NODE_BITS) | self.node
        return range(start, start + (count << NODE_BITS), 1 << NODE_BITS)

    def one(self, now: int) -> int:
        """Return the next id."""
        self._last = max(now - ID_EPOCH, self._last + 1)
        return (self._last << NODE_BITS) | self.node
