"""Quiet hours: the instants that a clock on the wall shows as quiet, in all zones and over both clock changes."""
# ruff: noqa: DTZ001 local times have no zone

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.values.test_timezones import ZONES, changes, micros
from waypost.clock import DAY, HOUR, MINUTE, SECOND
from waypost.domain.messaging.quiet_hours import (
    WEEK_MINUTES,
    QuietWindow,
    free_minutes,
    in_window,
    jittered,
    next_allowed,
)
from waypost.domain.values.timezones import local_time

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietWindow(22 * 60, 8 * 60)


def at(text: str) -> int:
    return micros(datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("now", "allowed"),
    [
        # A Monday in winter.
        ("2027-01-11T21:59:59+01:00", "2027-01-11T21:59:59+01:00"),
        ("2027-01-11T22:00+01:00", "2027-01-12T08:00+01:00"),
        ("2027-01-12T00:00+01:00", "2027-01-12T08:00+01:00"),
        ("2027-01-12T07:59:59.999999+01:00", "2027-01-12T08:00+01:00"),
        ("2027-01-12T08:00+01:00", "2027-01-12T08:00+01:00"),
        # The clocks are set forward, and back: the night is shorter, and longer.
        ("2027-03-27T22:00+01:00", "2027-03-28T08:00+02:00"),
        ("2027-10-30T22:00+02:00", "2027-10-31T08:00+01:00"),
    ],
)
def test_a_night(now: str, allowed: str):
    assert next_allowed((NIGHT,), BERLIN, at(now)) == at(allowed)


@pytest.mark.parametrize(
    ("window", "now", "allowed"),
    [
        # It ends at a time that is skipped: at the instant of the change.
        (QuietWindow(60, 150), "2027-03-28T01:30+01:00", "2027-03-28T03:00+02:00"),
        # It begins at a time that is skipped, and ends after it.
        (QuietWindow(150, 240), "2027-03-28T03:00+02:00", "2027-03-28T04:00+02:00"),
        # It is within the hour that is skipped: there is none.
        (QuietWindow(130, 170), "2027-03-28T03:00+02:00", "2027-03-28T03:00+02:00"),
        # It ends at a time that occurs twice: quiet until the first one, and again from 2 o'clock on.
        (QuietWindow(60, 150), "2027-10-31T01:30+02:00", "2027-10-31T02:30+02:00"),
        (QuietWindow(60, 150), "2027-10-31T02:30+02:00", "2027-10-31T02:30+02:00"),
        (QuietWindow(60, 150), "2027-10-31T02:00+01:00", "2027-10-31T02:30+01:00"),
        # It ends after the hour that occurs twice, and contains it.
        (QuietWindow(60, 180), "2027-10-31T02:59+02:00", "2027-10-31T03:00+01:00"),
    ],
)
def test_a_window_at_a_change_of_the_clock(window: QuietWindow, now: str, allowed: str):
    assert next_allowed((window,), BERLIN, at(now)) == at(allowed)


def test_days_are_those_on_which_a_window_begins():
    # The night from Friday to Saturday.
    friday = QuietWindow(22 * 60, 8 * 60, (4,))
    assert next_allowed((friday,), BERLIN, at("2027-01-15T23:00+01:00")) == at("2027-01-16T08:00+01:00")
    assert next_allowed((friday,), BERLIN, at("2027-01-16T07:00+01:00")) == at("2027-01-16T08:00+01:00")
    assert next_allowed((friday,), BERLIN, at("2027-01-15T07:00+01:00")) == at("2027-01-15T07:00+01:00")
    assert next_allowed((friday,), BERLIN, at("2027-01-16T23:00+01:00")) == at("2027-01-16T23:00+01:00")


def test_windows_that_touch_are_one():
    weekend = [QuietWindow(0, 0, (5, 6)), NIGHT]
    assert next_allowed(tuple(weekend), BERLIN, at("2027-01-15T22:30+01:00")) == at("2027-01-18T08:00+01:00")


def test_windows_that_leave_nothing_do_not_search_for_ever():
    always = [QuietWindow(0, 0)]
    now = at("2027-01-15T22:30+01:00")
    assert next_allowed(tuple(always), BERLIN, now) == now
    assert free_minutes(always) == 0
    assert free_minutes([NIGHT]) == WEEK_MINUTES - 7 * 600
    assert free_minutes([QuietWindow(1, 0)]) == 7
    assert free_minutes([]) == WEEK_MINUTES


def test_an_only_minute_that_is_skipped_comes_a_week_later():
    # All of the week but Sundays at half past two.
    rest = [QuietWindow(151, 150, (6,)), QuietWindow(0, 0, (0, 1, 2, 3, 4, 5)), QuietWindow(0, 150, (6,))]
    assert free_minutes(rest) == 1
    assert next_allowed(tuple(rest), BERLIN, at("2027-03-27T12:00+01:00")) == at("2027-04-04T02:30+02:00")


def test_messages_are_spread_but_not_into_the_next_window():
    end = at("2027-01-12T08:00+01:00")
    assert jittered([NIGHT], BERLIN, end, 14 * MINUTE) == end + 14 * MINUTE
    noon = QuietWindow(8 * 60 + 5, 9 * 60)
    assert jittered([NIGHT, noon], BERLIN, end, 14 * MINUTE) == end
    assert jittered([NIGHT, noon], BERLIN, end, 4 * MINUTE) == end + 4 * MINUTE


windows = st.builds(
    QuietWindow,
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.lists(st.integers(0, 6), min_size=1, unique=True).map(lambda days: tuple(sorted(days))),
)


def by_the_minute(window: QuietWindow, wall: datetime) -> bool:
    """Whether the window contains a local time, by counting minutes of the week: the definition in other words."""
    minute = wall.weekday() * 1440 + wall.hour * 60 + wall.minute
    return any((minute - day * 1440 - window.start) % WEEK_MINUTES < window.length for day in window.days)


def check(closed: list[QuietWindow], zone: ZoneInfo, now: int) -> None:
    """Fail unless it is the first minute from `now` on that the clock on the wall does not show as quiet."""

    def quiet(instant: int) -> bool:
        wall = local_time(zone, instant).replace(tzinfo=None)
        return any(by_the_minute(window, wall) for window in closed)

    found = next_allowed(tuple(closed), zone, now)
    assert now <= found < now + 15 * DAY
    assert not quiet(found)
    assert in_window(closed, zone, now) is quiet(now)
    if found > now:
        assert quiet(now)
        assert quiet(found - 1)
        # Everything before it is quiet: each quarter of an hour, because clocks are set at no other times today.
        assert all(quiet(instant) for instant in range(now, found, 15 * MINUTE))


@settings(max_examples=150, deadline=None)
@given(
    closed=st.lists(windows, min_size=1, max_size=4).filter(lambda found: free_minutes(found) > 600),
    name=st.sampled_from(ZONES),
    now=st.datetimes(min_value=datetime(1970, 1, 3), max_value=datetime(2040, 1, 1)),
)
def test_any_quiet_hours_in_any_zone(closed: list[QuietWindow], name: str, now: datetime):
    check(closed, ZoneInfo(name), micros(now.replace(tzinfo=BERLIN)))


@settings(max_examples=60, deadline=None)
@given(
    closed=st.lists(windows, min_size=1, max_size=3).filter(lambda found: free_minutes(found) > 600),
    name=st.sampled_from(ZONES),
    year=st.integers(1970, 2038),
    before=st.integers(0, 30 * 60),
)
def test_any_quiet_hours_at_any_change_of_a_clock(closed: list[QuietWindow], name: str, year: int, before: int):
    zone = ZoneInfo(name)
    for change in changes(zone, year, year + 2):
        check(closed, zone, change - before * MINUTE)
        check(closed, zone, change - SECOND)
        check(closed, zone, change)


def test_the_length_of_a_window():
    assert QuietWindow(60, 120).length == 60
    assert QuietWindow(60, 60).length == 1440
    assert QuietWindow(120, 60).length == 1380
    assert NIGHT.end_of(datetime(2027, 1, 11, 22)) == datetime(2027, 1, 12, 8)
    assert NIGHT.end_of(datetime(2027, 1, 11, 8)) is None
    assert HOUR * 24 == DAY
    assert timedelta(minutes=NIGHT.length) == timedelta(hours=10)
