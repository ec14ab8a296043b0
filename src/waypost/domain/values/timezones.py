"""Time zones of people: their names, those of phone numbers, and the instants of local times."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers.timezone import time_zones_for_number
from phonenumbers.tzdata import TIMEZONE_DATA, TIMEZONE_LONGEST_PREFIX

from waypost.clock import HOUR, SECOND

UTC_ZONE = ZoneInfo("UTC")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NAME = re.compile(r"[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,2}")
#: Folders of some systems with the same names: zones with other seconds, and files that are no zones of people.
_FOLDERS = ("right/", "posix/")
#: Files beside the zones that are no zones of people: the one of this machine, and placeholders.
_FILES = frozenset({"localtime", "posixrules", "Factory"})
#: Two zones have the same clock if their offsets are the same at the first of each month of a year.
_SAMPLES = [datetime(2025, month, 1, tzinfo=UTC) for month in range(1, 13)]


@lru_cache(maxsize=2000)
def find_zone(name: str) -> ZoneInfo | None:
    """Return the time zone of an IANA name such as `Europe/Berlin`, or None if there is none of this name."""
    if not _NAME.fullmatch(name) or name.startswith(_FOLDERS) or name in _FILES:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        # No such zone, or the name of a folder.
        return None


@lru_cache(maxsize=50_000)
def zone_of_phone(number: str) -> ZoneInfo | None:
    """Return the time zone of an E.164 number, if all places of its country, or of its prefix, have the same clock.

    The prefix counts for numbers of a place. Mobile numbers of most countries have none, and so only their country.
    """
    digits = number.removeprefix("+")
    if digits == number or not digits.isascii() or not digits.isdigit():
        return None
    code = next((digits[:n] for n in (1, 2, 3) if int(digits[:n]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE), "")
    if code == "1":
        # In North America mobile numbers have a place, too: no need to find out the kind of the number.
        return _common_zone(_of_longest_prefix(digits))
    if (found := _common_zone(TIMEZONE_DATA.get(code, ()))) is not None:
        return found
    try:
        # A country with several clocks. This takes a hundred times as long.
        return _common_zone(tuple(time_zones_for_number(phonenumbers.parse(number))))
    except phonenumbers.NumberParseException:
        return None


def _of_longest_prefix(digits: str) -> tuple[str, ...]:
    lengths = range(min(TIMEZONE_LONGEST_PREFIX, len(digits)), 0, -1)
    return next((names for n in lengths if (names := TIMEZONE_DATA.get(digits[:n])) is not None), ())


@lru_cache(maxsize=2000)
def _common_zone(names: tuple[str, ...]) -> ZoneInfo | None:
    zones = [find_zone(name) for name in names]
    offsets = {None if zone is None else tuple(at.astimezone(zone).utcoffset() for at in _SAMPLES) for zone in zones}
    return zones[0] if len(offsets) == 1 else None


def person_zone(timezone: object, phone: str | None, default: ZoneInfo) -> ZoneInfo:
    """Return the time zone of a person.

    It is that of the trait `timezone`, else that of the phone number (E.164), else the default of the workspace.
    """
    found = find_zone(timezone) if isinstance(timezone, str) else None
    if found is None and phone:
        found = zone_of_phone(phone)
    return found or default


def local_time(zone: ZoneInfo, at: int) -> datetime:
    """Return what a clock in the zone shows at an instant in microseconds since 1970."""
    return (_EPOCH + timedelta(microseconds=at)).astimezone(zone)


def offset_at(zone: ZoneInfo, at: int) -> int:
    """Return the offset of the zone from UTC at an instant, in microseconds."""
    return (local_time(zone, at).utcoffset() or timedelta()) // _MICROSECOND


def first_instant(zone: ZoneInfo, wall: datetime) -> int:
    """Return the first instant at which a clock in the zone shows a local time (without a zone) or a later one.

    Where the clocks are set back, the local time occurs twice: it is the first time. Where they are set forward over
    it, it does not occur: it is the instant at which they are set.
    """
    first, second = ((wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) - _EPOCH) // _MICROSECOND for fold in (0, 1))
    if local_time(zone, first).replace(tzinfo=None) == wall:
        return first
    # The clocks are set forward over it: the offset before that gives the later instant of the two.
    change = next_change(zone, second, first)
    return first if change is None else change


def next_change(zone: ZoneInfo, after: int, until: int) -> int | None:
    """Return the first instant in (after, until] at which the offset of the zone changes, or None.

    Two changes within the same hour are not found.
    """
    before = offset_at(zone, after)
    low = after
    while low < until:
        high = min(low + HOUR, until)
        if offset_at(zone, high) == before:
            low = high
            continue
        # All changes are at whole seconds.
        first, last = low // SECOND, -(-high // SECOND)
        while last - first > 1:
            middle = (first + last) // 2
            if offset_at(zone, middle * SECOND) == before:
                first = middle
            else:
                last = middle
        return last * SECOND
    return None
