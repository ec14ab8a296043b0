"""When campaigns send: every kind of schedule, over changes of the clocks, ends of months and hostile input."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.clock import DAY, HOUR, MINUTE
from waypost.domain.campaigns.schedule import (
    FARTHEST,
    WEEKDAYS,
    Schedule,
    SendAgain,
    SendAt,
    SendLocal,
    SendNow,
    check_readable,
    check_schedule,
    due_time,
    first_time,
    next_time,
)
from waypost.errors import Invalid

ZONES = sorted(available_timezones() - {"localtime", "Factory"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(text: str) -> int:
    """Return an instant in UTC, such as `2026-12-01 09:00`."""
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def text(instant: int | None) -> str | None:
    return None if instant is None else (_EPOCH + timedelta(microseconds=instant)).strftime("%Y-%m-%d %H:%M")


NOW = at("2026-11-27 12:00")


def again(**fields: object) -> SendAgain:
    return SendAgain(**({"every": "day", "at": "09:00"} | fields))  # type: ignore[arg-type]


def times(schedule: Schedule, count: int, now: int = NOW) -> list[str | None]:
    """Return the first times of a recurrence that is launched now."""
    found: list[str | None] = []
    after: int | None = now
    while len(found) < count and after is not None:
        after = next_time(schedule, after, now)
        found.append(text(after))
    return found


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (SendNow(), "2026-11-27 12:00"),
        (SendAt(at="2026-12-01T09:00:00Z"), "2026-12-01 09:00"),
        (SendAt(at="2026-12-01T09:00:00+05:45"), "2026-12-01 03:15"),
        # An hour before it is nine o'clock in the first zone, UTC+14.
        (SendLocal(at="2026-12-01T09:00"), "2026-11-30 18:00"),
        (SendLocal(at="2026-11-27T20:00"), "2026-11-27 12:00"),
        (again(), "2026-11-28 09:00"),
        (again(at="12:01"), "2026-11-27 12:01"),
        (again(at="12:00"), "2026-11-28 12:00"),
        (again(timezone="Asia/Tokyo", at="22:00"), "2026-11-27 13:00"),
        (again(starts_on="2026-12-24"), "2026-12-24 09:00"),
    ],
)
def test_the_first_time(schedule: Schedule, expected: str):
    check_schedule(schedule, NOW)
    assert text(first_time(schedule, NOW)) == expected


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (again(), ["2026-11-28 09:00", "2026-11-29 09:00", "2026-11-30 09:00"]),
        (again(interval=3), ["2026-11-30 09:00", "2026-12-03 09:00", "2026-12-06 09:00"]),
        (again(every="week"), ["2026-12-04 09:00", "2026-12-11 09:00"]),
        (again(every="week", weekdays=["mon", "fri"]), ["2026-11-30 09:00", "2026-12-04 09:00", "2026-12-07 09:00"]),
        # Every second week, counted from the week of the start.
        (
            again(every="week", interval=2, weekdays=["mon", "sun"]),
            ["2026-11-29 09:00", "2026-12-07 09:00", "2026-12-13 09:00", "2026-12-21 09:00"],
        ),
        (again(every="month"), ["2026-12-27 09:00", "2027-01-27 09:00"]),
        (again(every="month", day=1, interval=3), ["2027-02-01 09:00", "2027-05-01 09:00"]),
        (
            again(every="month", day=31),
            ["2026-11-30 09:00", "2026-12-31 09:00", "2027-01-31 09:00", "2027-02-28 09:00", "2027-03-31 09:00"],
        ),
        (again(every="month", starts_on="2028-01-31"), ["2028-01-31 09:00", "2028-02-29 09:00", "2028-03-31 09:00"]),
        (again(every="month", interval=12, starts_on="2024-02-29"), ["2027-02-28 09:00", "2028-02-29 09:00"]),
        (again(ends_on="2026-11-29"), ["2026-11-28 09:00", "2026-11-29 09:00", None]),
        (again(starts_on="2020-01-01", ends_on="2026-11-28", interval=2), [None]),
        # The clocks go forward and back: one time a day, whatever happens.
        (
            again(timezone="Europe/Berlin", at="02:30", starts_on="2027-03-27"),
            ["2027-03-27 01:30", "2027-03-28 01:00", "2027-03-29 00:30"],
        ),
        (
            again(timezone="Europe/Berlin", at="02:30", starts_on="2027-10-30"),
            ["2027-10-30 00:30", "2027-10-31 00:30", "2027-11-01 01:30"],
        ),
        (SendNow(), [None]),
        (SendAt(at="2026-12-01T09:00:00Z"), [None]),
        (SendLocal(at="2026-12-01T09:00"), [None]),
    ],
)
def test_recurrences(schedule: Schedule, expected: list[str | None]):
    assert times(schedule, len(expected)) == expected


schedules = st.builds(
    SendAgain,
    every=st.sampled_from(["day", "week", "month"]),
    interval=st.integers(1, 12),
    at=st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59)),
    timezone=st.sampled_from(ZONES),
    weekdays=st.lists(st.sampled_from(WEEKDAYS), max_size=7),
    day=st.none() | st.integers(1, 31),
    starts_on=st.none() | st.dates(datetime(2026, 1, 1).date(), datetime(2028, 1, 1).date()).map(str),  # noqa: DTZ001
)


@given(schedules, st.integers(at("2026-01-01 00:00"), at("2030-01-01 00:00")))
def test_times_rise_and_do_not_depend_on_when_one_asks(schedule: SendAgain, launched: int):
    first = next_time(schedule, launched, launched)
    assert first is not None
    assert first > launched
    assert next_time(schedule, first - 1, launched) == first
    second = next_time(schedule, first, launched)
    assert second is not None
    assert second > first
    # The same time, however long before it somebody asks.
    assert next_time(schedule, (first + second) // 2, launched) == second
    zone = ZoneInfo(schedule.timezone)
    for instant in (first, second):
        shown = datetime.fromtimestamp(instant // 1_000_000, zone)
        # Later only where the clocks skip the time.
        assert shown.strftime("%H:%M") >= schedule.at or (instant - 1) // 1_000_000
        if schedule.every == "week" and schedule.weekdays and shown.strftime("%H:%M") == schedule.at:
            assert WEEKDAYS[shown.weekday()] in schedule.weekdays


LOCAL = SendLocal(at="2026-12-01T09:00")
BEGINS = at("2026-11-30 18:00")


def test_a_local_time_comes_once_for_each_zone():
    for name in ZONES:
        due = due_time(LOCAL, ZoneInfo(name), BEGINS, BEGINS)
        assert due is not None
        assert datetime.fromtimestamp(due // 1_000_000, ZoneInfo(name)).strftime("%Y-%m-%d %H:%M") == "2026-12-01 09:00"
        assert BEGINS + HOUR <= due <= BEGINS + 27 * HOUR


@pytest.mark.parametrize(
    ("schedule", "zone", "expected"),
    [
        (SendLocal(at="2027-03-28T02:30"), "Europe/Berlin", "2027-03-28 01:00"),
        (SendLocal(at="2027-10-31T02:30"), "Europe/Berlin", "2027-10-31 00:30"),
        (SendLocal(at="2026-12-01T09:00:30.5"), "UTC", "2026-12-01 09:00"),
        (SendLocal(at="2026-12-01"), "UTC", "2026-12-01 00:00"),
    ],
)
def test_local_times(schedule: SendLocal, zone: str, expected: str):
    assert text(due_time(schedule, ZoneInfo(zone), NOW, NOW)) == expected


@pytest.mark.parametrize(
    ("late", "zone", "expected"),
    [
        # It is 12:00 in UTC, 13:00 in Berlin, 21:00 in Tokyo, 07:00 in New York.
        ("skip", "UTC", "2026-11-27 12:00"),
        ("skip", "America/New_York", "2026-11-27 17:00"),
        ("skip", "Europe/Berlin", None),
        ("now", "Europe/Berlin", "2026-11-27 12:00"),
        ("next_day", "Europe/Berlin", "2026-11-28 11:00"),
        ("next_day", "Asia/Tokyo", "2026-11-28 03:00"),
    ],
)
def test_who_is_late(late: str, zone: str, expected: str | None):
    schedule = SendLocal(at="2026-11-27T12:00", late=late)  # type: ignore[arg-type]
    check_schedule(schedule, NOW)
    assert text(due_time(schedule, ZoneInfo(zone), NOW, NOW)) == expected


def test_the_next_day_is_today_where_the_day_that_was_set_is_over():
    """At 00:30 in Kiritimati, 23:00 of yesterday has passed; the next time is this evening."""
    now = at("2026-11-27 10:30")
    schedule = SendLocal(at="2026-11-27T23:00", late="next_day")
    zone = ZoneInfo("Pacific/Kiritimati")
    assert text(due_time(schedule, zone, now, now)) == "2026-11-28 09:00"
    much_later = now + 23 * HOUR
    assert text(due_time(schedule, zone, much_later, much_later)) == "2026-11-29 09:00"


@given(st.sampled_from(ZONES), st.integers(-3 * DAY, 3 * DAY), st.sampled_from(["skip", "now", "next_day"]))
def test_nobody_is_due_before_now(zone: str, shift: int, late: str):
    now = at("2026-12-01 09:00") + shift
    due = due_time(SendLocal(at="2026-12-01T09:00", late=late), ZoneInfo(zone), now, now)  # type: ignore[arg-type]
    assert due is None or now <= due <= max(now, at("2026-12-01 09:00") + 12 * HOUR) + 25 * HOUR
    assert late == "skip" or due is not None


@pytest.mark.parametrize("schedule", [SendNow(), SendAt(at="2026-12-01T09:00:00Z"), again()])
def test_other_schedules_do_not_depend_on_the_zone(schedule: Schedule):
    assert due_time(schedule, ZoneInfo("Asia/Tokyo"), NOW, NOW + MINUTE) == NOW


@pytest.mark.parametrize(
    ("schedule", "field", "word"),
    [
        (SendAt(at="2026-11-27T11:59:59Z"), "at", "passed"),
        (SendAt(at="2026-11-27T12:30:00+01:00"), "at", "passed"),
        (SendAt(at="1971-01-01T00:00:00Z"), "at", "passed"),
        (SendAt(at="2027-11-29T12:00:00Z"), "at", "366 days"),
        (SendAt(at="9999-12-31T23:59:59Z"), "at", "366 days"),
        (SendLocal(at="2026-11-26T23:00"), "at", "passed"),
        (SendLocal(at="2027-11-29T12:00"), "at", "366 days"),
        (again(ends_on="2026-11-27"), "ends_on", "no time after now"),
        (again(ends_on="2020-01-01"), "ends_on", "no time after now"),
        (again(starts_on="2028-01-01"), "starts_on", "366 days"),
        (again(every="week", weekdays=["mon"], ends_on="2026-11-29"), "ends_on", "no time after now"),
    ],
)
def test_times_outside_of_the_frame(schedule: Schedule, field: str, word: str):
    check_readable(schedule)
    with pytest.raises(Invalid) as raised:
        check_schedule(schedule, NOW)
    assert (raised.value.code, raised.value.extra) == ("invalid_schedule", {"field": f"schedule.{field}"})
    assert word in raised.value.detail


def test_the_frame_is_exact():
    check_schedule(SendAt(at="2026-11-27T12:00:00Z"), NOW)
    check_schedule(SendAt(at="2027-11-28T12:00:00Z"), NOW)
    assert at("2027-11-28 12:00") == NOW + FARTHEST
    # Nine o'clock of today has not passed where it is still eight.
    check_schedule(SendLocal(at="2026-11-27T00:00"), NOW)


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        (SendAt(at=""), "at"),
        (SendAt(at="2026-12-01T09:00:00"), "at"),
        (SendAt(at="2026-12-01"), "at"),
        (SendAt(at="0001-01-01T00:00:00+14:00"), "at"),
        (SendAt(at="9999-12-31T23:59:59-12:00"), "at"),
        (SendAt(at="2026-13-01T09:00:00Z"), "at"),
        (SendAt(at="\ud800"), "at"),
        (SendLocal(at=""), "at"),
        (SendLocal(at="09:00"), "at"),
        (SendLocal(at="2026-12-01T09:00:00+01:00"), "at"),
        (SendLocal(at="9999-12-31T23:59"), "at"),
        (SendLocal(at="0001-01-01T00:00"), "at"),
        (again(at="29:00"), "at"),
        (again(at="09:60"), "at"),
        (again(at="09:00\n"), "at"),
        (again(at="9 Uhr"), "at"),
        (again(at=""), "at"),
        (again(timezone=""), "timezone"),
        (again(timezone="../../etc/passwd"), "timezone"),
        (again(starts_on="soon"), "starts_on"),
        (again(starts_on="9999-12-31"), "starts_on"),
        (again(starts_on="0001-01-01"), "starts_on"),
        (again(starts_on="2026-02-30"), "starts_on"),
        (again(ends_on="2026-12-1"), "ends_on"),
        (again(ends_on="9999-12-31"), "ends_on"),
        (again(starts_on="2026-12-02", ends_on="2026-12-01"), "ends_on"),
    ],
)
def test_schedules_that_cannot_be_read(schedule: Schedule, field: str):
    with pytest.raises(Invalid) as raised:
        check_readable(schedule)
    assert raised.value.extra["field"] == f"schedule.{field}"
    with pytest.raises(Invalid):
        check_schedule(schedule, NOW)


hostile = st.text(max_size=40) | st.from_regex(
    r"[0-9]{4}-?[0-9W]{2,3}-?[0-9]{1,2}([T 0]?[0-9:.,+-]{0,16}Z?)?", fullmatch=True
)


@given(
    st.builds(SendAt, at=hostile)
    | st.builds(SendLocal, at=hostile)
    | st.builds(
        SendAgain, every=st.just("month"), at=hostile | st.just("09:00"), timezone=hostile | st.just("UTC"),
        starts_on=st.none() | hostile, ends_on=st.none() | hostile,
    )
)  # fmt: skip
def test_any_text_is_a_time_in_the_frame_or_invalid(schedule: Schedule):
    try:
        check_schedule(schedule, NOW)
    except Invalid:
        return
    first = first_time(schedule, NOW)
    assert first is not None
    assert NOW <= first <= NOW + FARTHEST
