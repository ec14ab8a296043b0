"""A local time is one instant in every zone, over both changes of the clocks."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.values.local_time import FIRST_ZONE, LAST_ZONE, instant_of, local_day, read_zone
from waypost.domain.values.timezones import find_zone
from waypost.errors import Invalid

ZONES = sorted(available_timezones() - {"localtime", "Factory"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def instant(day: str, at: str, zone: str) -> str:
    """Return the instant of a local time, in UTC."""
    found = instant_of(date.fromisoformat(day), time.fromisoformat(at), ZoneInfo(zone))
    return (_EPOCH + found * _MICROSECOND).isoformat().removesuffix("+00:00")


def shown(at: int, zone: ZoneInfo) -> datetime:
    """Return what the clocks of a zone show at an instant."""
    return (_EPOCH + at * _MICROSECOND).astimezone(zone).replace(tzinfo=None)


@pytest.mark.parametrize(
    ("day", "at", "zone", "expected"),
    [
        ("2026-12-01", "09:00", "UTC", "2026-12-01T09:00:00"),
        ("2026-12-01", "09:00", "Europe/Berlin", "2026-12-01T08:00:00"),
        ("2026-07-01", "09:00", "Europe/Berlin", "2026-07-01T07:00:00"),
        ("2026-12-01", "09:00", "Pacific/Kiritimati", "2026-11-30T19:00:00"),
        ("2026-12-01", "09:00", "Etc/GMT+12", "2026-12-01T21:00:00"),
        ("2026-12-01", "09:00", "Asia/Kathmandu", "2026-12-01T03:15:00"),
        # In the gap: the first instant after it, whatever the time in the gap.
        ("2026-03-29", "01:59:59", "Europe/Berlin", "2026-03-29T00:59:59"),
        ("2026-03-29", "02:00", "Europe/Berlin", "2026-03-29T01:00:00"),
        ("2026-03-29", "02:30", "Europe/Berlin", "2026-03-29T01:00:00"),
        ("2026-03-29", "02:59:59", "Europe/Berlin", "2026-03-29T01:00:00"),
        ("2026-03-29", "03:00", "Europe/Berlin", "2026-03-29T01:00:00"),
        ("2026-03-08", "02:30", "America/New_York", "2026-03-08T07:00:00"),
        # Half an hour only.
        ("2026-10-04", "02:15", "Australia/Lord_Howe", "2026-10-03T15:30:00"),
        # The gap is at midnight: the day begins at one.
        ("2026-09-06", "00:00", "America/Santiago", "2026-09-06T04:00:00"),
        # A whole day that does not exist.
        ("2011-12-30", "09:00", "Pacific/Apia", "2011-12-30T10:00:00"),
        # Twice: the first one.
        ("2026-10-25", "02:30", "Europe/Berlin", "2026-10-25T00:30:00"),
        ("2026-10-25", "03:00", "Europe/Berlin", "2026-10-25T02:00:00"),
        ("2026-11-01", "01:30", "America/New_York", "2026-11-01T05:30:00"),
        # The offset had seconds then.
        ("1971-06-01", "12:00", "Africa/Monrovia", "1971-06-01T12:44:30"),
    ],
)
def test_instants(day: str, at: str, zone: str, expected: str):
    assert instant(day, at, zone) == expected


times = st.builds(time, st.integers(0, 23), st.integers(0, 59), st.sampled_from([0, 1, 59]))


@given(st.sampled_from(ZONES), st.dates(date(1971, 1, 1), date(2100, 1, 1)), times)
def test_it_is_the_first_instant_that_shows_this_time_or_a_later_one(name: str, day: date, at: time):
    zone = ZoneInfo(name)
    found = instant_of(day, at, zone)
    local = datetime.combine(day, at)
    assert found % 1_000_000 == 0
    assert shown(found, zone) >= local
    assert shown(found - 1_000_000, zone) < local or shown(found - 1_000_000, zone) > shown(found, zone)


def changes(zone: ZoneInfo, year: int) -> list[int]:
    """Return the instants of a year in which the offset of a zone changes, to the second."""
    found = []
    start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    for low in range(start, start + 366 * 86_400, 7 * 86_400):
        before, high = datetime.fromtimestamp(low, zone).utcoffset(), low + 7 * 86_400
        if datetime.fromtimestamp(high, zone).utcoffset() == before:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            if datetime.fromtimestamp(middle, zone).utcoffset() == before:
                low = middle
            else:
                high = middle
        found.append(high)
    return found


@pytest.mark.parametrize("year", [2026, 2032])
def test_every_change_of_every_zone(year: int):
    """At each change: a skipped time is the change itself, and one that comes twice is its first coming."""
    gaps = overlaps = 0
    for name in ZONES:
        zone = ZoneInfo(name)
        for at in changes(zone, year):
            before = datetime.fromtimestamp(at - 1, zone).replace(tzinfo=None) + timedelta(seconds=1)
            after = datetime.fromtimestamp(at, zone).replace(tzinfo=None)
            middle = min(before, after) + abs(after - before) / 2
            found = instant_of(middle.date(), middle.time(), zone) // 1_000_000
            if after > before:
                gaps += 1
                assert found == at, name
            else:
                overlaps += 1
                assert at - (before - after).total_seconds() <= found < at, name
    assert gaps > 100
    assert overlaps > 100


def test_no_zone_is_outside_of_the_first_and_the_last_one():
    noon = datetime(2026, 12, 1, 12, tzinfo=UTC)
    for name in ZONES:
        offset = noon.astimezone(ZoneInfo(name)).utcoffset()
        assert offset is not None
        assert -LAST_ZONE <= offset // _MICROSECOND <= FIRST_ZONE, name


@pytest.mark.parametrize(
    ("at", "zone", "day"),
    [
        ("2026-12-01T23:30:00+00:00", "Europe/Berlin", "2026-12-02"),
        ("2026-12-01T01:00:00+00:00", "America/New_York", "2026-11-30"),
        ("2026-12-01T01:00:00+00:00", "UTC", "2026-12-01"),
    ],
)
def test_days(at: str, zone: str, day: str):
    moment = (datetime.fromisoformat(at) - _EPOCH) // _MICROSECOND
    assert local_day(moment, ZoneInfo(zone)) == date.fromisoformat(day)


@pytest.mark.parametrize(
    "name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12", "EST5EDT", "GMT0"]
)
def test_zones_are_found(name: str):
    assert read_zone(name, "schedule.timezone").key == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "/",
        ".",
        "..",
        "Europe",
        "Europe/",
        "Europe/Berlin/",
        "/Europe/Berlin",
        "europe/berlin",
        "Europe/Berlin\0",
        "Europe/Berlin\n",
        "../Europe/Berlin",
        "Europe/../UTC",
        "/etc/passwd",
        "localtime",
        "posixrules",
        "tzdata.zi",
        "right/UTC",
        "posix/UTC",
        "zone.tab",
        "leapseconds",
        "+02:00",
        "GMT+2",
        "Ünïcode",
        "\ud800",
        "x" * 5000,
    ],
)
def test_others_are_refused(name: str):
    assert find_zone(name) is None
    with pytest.raises(Invalid) as raised:
        read_zone(name, "schedule.timezone")
    assert (raised.value.code, raised.value.extra["field"]) == ("invalid_time_zone", "schedule.timezone")
    assert len(raised.value.detail) < 300


@given(st.text(max_size=30))
def test_any_text_is_a_zone_of_the_database_or_none(name: str):
    zone = find_zone(name)
    assert zone is None or zone.key in ZONES
