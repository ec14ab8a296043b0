"""The time and the ids that are made from it: the only module that reads the clock."""

import time
from datetime import UTC, datetime

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

#: 2020-01-01T00:00:00Z, in microseconds since 1970: ids count from here.
ID_EPOCH = 1_577_836_800 * SECOND
#: The low bits of an id name the process that made it (a row of `nodes`).
NODE_BITS = 12
NODES = 1 << NODE_BITS

_last_second = (-1, "")


def now_us() -> int:
    """The present, in microseconds since 1970-01-01T00:00:00Z."""
    return time.time_ns() // 1000


def iso(at: int) -> str:
    """A moment of the years 1 to 9999 as `2026-09-21T13:33:20.000000Z`."""
    # Most moments of a batch fall in the same second, whose text is kept: as one pair, since threads share it.
    global _last_second
    second, micro = divmod(at, SECOND)
    known, text = _last_second
    if second != known:
        text = datetime.fromtimestamp(second, UTC).isoformat()[:19]
        _last_second = (second, text)
    return f"{text}.{micro:06d}Z"


def first_id(at: int) -> int:
    """The smallest id that can have been made at this moment or after it."""
    return max(at - ID_EPOCH, 0) << NODE_BITS


def id_time(value: int) -> int:
    """When an id was made, in microseconds since 1970."""
    return (value >> NODE_BITS) + ID_EPOCH


class Ids:
    """Makes 63-bit ids that rise with time and never repeat, in this process or another.

    An id is the microsecond it was made in and the node that made it. A node makes at most one id per
    microsecond: when more are asked for, they are taken from the microseconds to come.
    """

    def __init__(self, node: int) -> None:
        self.node = node
        self._last = 0

    def start_after(self, value: int) -> None:
        """Make no id up to this one, even if the clock stands before it: it may have been set back."""
        self._last = max(self._last, value >> NODE_BITS)

    def take(self, count: int, now: int) -> range:
        """The next `count` ids, rising."""
        first = max(now - ID_EPOCH, self._last + 1)
        self._last = first + count - 1
        start = (first << NODE_BITS) | self.node
        return range(start, start + (count << NODE_BITS), 1 << NODE_BITS)

    def one(self, now: int) -> int:
        """The next id."""
        return self.take(1, now)[0]
