"""Quiet hours: windows of local time in which no message is sent."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from waypost.clock import DAY, MINUTE
from waypost.domain.values.timezones import local_time, next_change

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WEEK_MINUTES = 7 * 24 * 60
#: A search for the end of quiet hours ends here. Windows that leave a minute of the week free end long before: that
#: minute may fall into the hour over which the clocks are set.
_LONGEST_SEARCH = 15 * DAY


class QuietWindow(msgspec.Struct, frozen=True):
    """A window of local time on days of the week. One that ends at or before its start ends on the next day."""

    #: Minutes after midnight.
    start: int
    end: int
    #: The days on which it begins, Monday is 0.
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)

    @property
    def length(self) -> int:
        """How many minutes it lasts by the clock on the wall, from 1 to 1440."""
        return (self.end - self.start - 1) % 1440 + 1

    def end_of(self, wall: datetime) -> datetime | None:
        """Return the local time at which the window that contains a local time ends, or None if none contains it."""
        midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
        for back in (0, 1):
            day = midnight - timedelta(days=back)
            begin = day + timedelta(minutes=self.start)
            end = begin + timedelta(minutes=self.length)
            if day.weekday() in self.days and begin <= wall < end:
                return end
        return None


def in_window(windows: Sequence[QuietWindow], zone: ZoneInfo, at: int) -> bool:
    """Return whether a clock in the zone shows at this instant a time in one of the windows."""
    wall = local_time(zone, at).replace(tzinfo=None)
    return any(window.end_of(wall) is not None for window in windows)


# All messages of a claim are asked about at the same instant, and their people live in few zones.
@lru_cache(maxsize=4096)
def next_allowed(windows: tuple[QuietWindow, ...], zone: ZoneInfo, now: int) -> int:
    """Return the first instant from `now` on at which a clock in the zone shows a time outside of all windows.

    The windows are those of the clock on the wall: where it is set forward they are shorter, where it is set back they
    are longer, and an hour that occurs twice may be quiet twice. If no such instant comes within 15 days, it is `now`.
    """
    at = now
    while at - now < _LONGEST_SEARCH:
        wall = local_time(zone, at).replace(tzinfo=None)
        ends = [end for window in windows if (end := window.end_of(wall)) is not None]
        if not ends:
            return at
        # Where the clock goes on evenly, it is the end of the window; it may be set before that.
        until = at + (max(ends) - wall) // timedelta(microseconds=1)
        change = next_change(zone, at, until)
        at = until if change is None else change
    return now


def jittered(windows: Sequence[QuietWindow], zone: ZoneInfo, end: int, jitter: int) -> int:
    """Return `end` moved by the jitter, or `end` itself if that would be in another window."""
    moved = end + jitter
    return end if in_window(windows, zone, moved) else moved


def free_minutes(windows: Sequence[QuietWindow]) -> int:
    """Return how many minutes of the week no window covers."""
    covered: set[int] = set()
    for window in windows:
        for day in window.days:
            begin = day * 1440 + window.start
            covered.update(minute % WEEK_MINUTES for minute in range(begin, begin + window.length))
    return WEEK_MINUTES - len(covered)


#: The longest time by which messages are spread after the end of quiet hours.
MOST_JITTER = 15 * MINUTE
