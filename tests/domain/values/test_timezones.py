"""Time zones: names, phone numbers, and the instants of local times in every zone and over every clock change."""
# ruff: noqa: DTZ001 local times have no zone

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.clock import DAY, HOUR, MINUTE, SECOND
from waypost.domain.values.timezones import (
    UTC_ZONE,
    find_zone,
    first_instant,
    local_time,
    next_change,
    offset_at,
    person_zone,
    zone_of_phone,
)

#: The zones of the database, without those that have no folder or are other names of one of these.
ZONES = sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def changes(zone: ZoneInfo, first: int = 1970, last: int = 2040) -> list[int]:
    """Return all instants at which the clock of a zone is set, found by looking at every hour."""
    found, before = [], None
    at, end = micros(datetime(first, 1, 1, tzinfo=UTC)), micros(datetime(last, 1, 1, tzinfo=UTC))
    while at < end:
        offset = offset_at(zone, at)
        if before is not None and offset != before:
            low, high = at - DAY, at
            while high - low > SECOND:
                middle = (low + high) // 2 // SECOND * SECOND
                if offset_at(zone, middle) == before:
                    low = middle
                else:
                    high = middle
            found.append(high)
        before = offset
        at += DAY
    return found


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Europe/Berlin", True),
        ("America/Argentina/Buenos_Aires", True),
        ("UTC", True),
        ("Etc/GMT+5", True),
        ("Asia/Calcutta", True),
        ("Europe/Atlantis", False),
        ("Europe", False),
        ("", False),
        ("../etc/passwd", False),
        ("/etc/localtime", False),
        ("right/Europe/Berlin", False),
        ("posix/Europe/Berlin", False),
        ("Europe/Berlin\0", False),
        ("Europe/Berlin\n", False),
        ("a" * 100_000, False),
    ],
)
def test_names_of_time_zones(name: str, known: bool):
    assert (find_zone(name) is not None) is known


@pytest.mark.parametrize(
    ("number", "zone"),
    [
        ("+4915112345678", "Europe/Berlin"),
        ("+12025550101", "America/New_York"),
        ("+919876543210", "Asia/Calcutta"),
        # Several places of one clock.
        ("+447911123456", "Europe/Guernsey"),
        # A country with several clocks: the number of a place, and mobile numbers, which may be anywhere.
        ("+551132345678", "America/Sao_Paulo"),
        ("+61412345678", None),
        ("+79161234567", None),
        # A number without a place.
        ("+18005550101", None),
        ("+99912345", None),
        ("4915112345678", None),
        ("+", None),
        ("+49x", None),
        ("", None),
    ],
)
def test_the_time_zone_of_a_number(number: str, zone: str | None):
    found = zone_of_phone(number)
    assert (found.key if found else None) == zone


def test_the_zone_of_a_person_is_the_first_that_is_known():
    default = ZoneInfo("Asia/Tokyo")
    assert person_zone("Europe/Paris", "+4915112345678", default).key == "Europe/Paris"
    for unknown in (None, "", "Mars/Olympus", 7, ["Europe/Paris"], {"name": "Europe/Paris"}):
        assert person_zone(unknown, "+4915112345678", default).key == "Europe/Berlin"
        assert person_zone(unknown, "+61412345678", default) is default
        assert person_zone(unknown, None, default) is default
        assert person_zone(unknown, "", default) is default


@pytest.mark.parametrize("name", ["Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "America/Sao_Paulo"])
def test_a_change_of_the_clock_is_found_to_the_second(name: str):
    zone = ZoneInfo(name)
    found = changes(zone, 2000, 2012)
    assert found
    for at in found:
        assert next_change(zone, at - SECOND, at) == at
        assert next_change(zone, at - 20 * HOUR, at + HOUR) == at
        assert next_change(zone, at - 20 * HOUR, at - 1) is None
        assert next_change(zone, at, at + DAY) is None


# The night in which the clocks are set: forward at 2 to 3 o'clock, back at 3 to 2 o'clock.
SPRING, AUTUMN = datetime(2027, 3, 28), datetime(2027, 10, 31)


@pytest.mark.parametrize(
    ("wall", "instant"),
    [
        (SPRING.replace(hour=1, minute=59), "2027-03-28T00:59Z"),
        # 02:30 does not exist: the first instant after the gap.
        (SPRING.replace(hour=2, minute=30), "2027-03-28T01:00Z"),
        (SPRING.replace(hour=3), "2027-03-28T01:00Z"),
        # 02:30 occurs twice: the first time.
        (AUTUMN.replace(hour=2, minute=30), "2027-10-31T00:30Z"),
        (AUTUMN.replace(hour=3), "2027-10-31T02:00Z"),
    ],
)
def test_the_instant_of_a_local_time(wall: datetime, instant: str):
    assert first_instant(ZoneInfo("Europe/Berlin"), wall) == micros(datetime.fromisoformat(instant))


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(ZONES),
    wall=st.datetimes(min_value=datetime(1970, 1, 3), max_value=datetime(2040, 1, 1)),
)
def test_the_instant_of_any_local_time_in_any_zone(name: str, wall: datetime):
    check_instant(ZoneInfo(name), wall)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(ZONES),
    year=st.integers(1970, 2037),
    around=st.integers(-180, 180),
)
def test_the_instants_of_local_times_around_every_change_of_a_clock(name: str, year: int, around: int):
    zone = ZoneInfo(name)
    for at in changes(zone, year, year + 2):
        wall = local_time(zone, at).replace(tzinfo=None) + timedelta(minutes=around)
        check_instant(zone, wall)


def check_instant(zone: ZoneInfo, wall: datetime) -> None:
    """Fail unless it is the first instant at which the clock shows this time, or a later one."""
    found = first_instant(zone, wall)
    shown = local_time(zone, found).replace(tzinfo=None)
    assert shown >= wall
    if shown > wall:
        # It is skipped: the clock is set at this very instant, over this time.
        assert local_time(zone, found - 1).replace(tzinfo=None) < wall
        assert offset_at(zone, found - 1) < offset_at(zone, found)
        return
    # A clock that is set back shows it a second time later, and not before.
    for earlier in (30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR):
        assert local_time(zone, found - earlier).replace(tzinfo=None) != wall


def test_utc_is_known_without_a_folder_of_the_system():
    assert UTC_ZONE.utcoffset(datetime(2027, 1, 1)) == timedelta()
