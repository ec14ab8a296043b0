"""Local times of schedules: days and times of a zone's clocks, as instants."""

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from waypost.clock import HOUR
from waypost.domain.values.timezones import find_zone, first_instant, local_time
from waypost.errors import Invalid

#: The local time of the first zone is this far ahead of UTC (UTC+14), that of the last one this far behind (UTC-12).
FIRST_ZONE = 14 * HOUR
LAST_ZONE = 12 * HOUR


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
    return first_instant(zone, datetime.combine(day, at.replace(tzinfo=None)))


def local_day(at: int, zone: ZoneInfo) -> date:
    """Return the day of an instant by a zone's calendar."""
    return local_time(zone, at).date()
