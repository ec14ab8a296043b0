"""Local times of people: the instant of a wall-clock time in a zone, over changes of daylight saving time."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from waypost.errors import Invalid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: The local time of the first zone is this far ahead of UTC (UTC+14), that of the last one this far behind (UTC-12).
FIRST_ZONE = timedelta(hours=14) // _MICROSECOND
LAST_ZONE = timedelta(hours=12) // _MICROSECOND


@lru_cache(1000)
def find_zone(name: str) -> ZoneInfo | None:
    """Return the zone with an IANA name, such as `Europe/Berlin`; None for a name that is not one."""
    # A name is also the path of a file: only those of the database are looked up.
    return ZoneInfo(name) if name in _names() else None


@cache
def _names() -> frozenset[str]:
    # Neither the zone of this machine nor the one that stands for none.
    return frozenset(available_timezones() - {"localtime", "Factory"})


def read_zone(name: str, field: str) -> ZoneInfo:
    """Return the zone with an IANA name; raise Invalid, with `field`, for a name that is not one."""
    zone = find_zone(name)
    if zone is None:
        raise Invalid(
            f"{name[:80]!r} is not a time zone; name one of the IANA database, such as Europe/Berlin.",
            code="invalid_time_zone",
            field=field,
        )
    return zone


def instant_of(day: date, at: time, zone: ZoneInfo) -> int:
    """Return when a zone's clocks first show this time on this day, in microseconds since 1970.

    A time that a change of the clocks skips is the first instant after it; of a time that comes twice, the first.
    """
    local = datetime.combine(day, at.replace(tzinfo=None), tzinfo=zone)
    first = _microseconds(local)
    if datetime.fromtimestamp(first // 1_000_000, zone).replace(tzinfo=None) == local.replace(
        tzinfo=None, microsecond=0
    ):
        return first
    # In a gap, the two offsets give instants on both sides of the change.
    low, high = sorted((_microseconds(local.replace(fold=1)), first))
    before = _offset(low, zone)
    low, high = low // 1_000_000, high // 1_000_000
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(middle * 1_000_000, zone) == before:
            low = middle
        else:
            high = middle
    return high * 1_000_000


def local_day(at: int, zone: ZoneInfo) -> date:
    """Return the day of an instant by a zone's calendar."""
    return datetime.fromtimestamp(at // 1_000_000, zone).date()


def _microseconds(local: datetime) -> int:
    return (local.astimezone(UTC) - _EPOCH) // _MICROSECOND


def _offset(at: int, zone: ZoneInfo) -> timedelta | None:
    return datetime.fromtimestamp(at // 1_000_000, zone).utcoffset()
