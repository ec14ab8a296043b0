"""When a campaign sends: now, at a time, at a local time of each person, or again and again."""

import calendar
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from waypost.clock import DAY, HOUR
from waypost.domain.values.local_time import FIRST_ZONE, LAST_ZONE, instant_of, local_day, read_zone
from waypost.domain.values.times import parse_time
from waypost.errors import Error, Invalid

#: How far ahead a campaign may be scheduled.
FARTHEST = 366 * DAY
#: The audience of a local time is decided this long before the first zone reaches it.
AHEAD = HOUR
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: More days than lie between two dates of a recurrence.
MOST_DAYS = 366 * 2
#: The years that a schedule may name.
YEARS = range(1971, 9001)

Moment = Annotated[str, Meta(max_length=40)]


class SendNow(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="now"):
    """Send when the campaign is launched."""


class SendAt(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="at"):
    """Send at a time, given with its time zone."""

    at: Moment


class SendLocal(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="local"):
    """Send to each person at this time of the person's own clock, such as `2026-12-01T09:00`."""

    at: Moment
    #: What happens where that time has passed when the campaign is launched: `skip`, `now` or `next_day`.
    late: Literal["skip", "now", "next_day"] = "skip"


class SendAgain(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="recurring", kw_only=True):
    """Send every few days, weeks or months, each time to the audience of that moment."""

    every: Literal["day", "week", "month"]
    interval: Annotated[int, Meta(ge=1, le=12)] = 1
    at: Annotated[str, Meta(max_length=5, description="The time of day, such as `09:00`.")]
    timezone: Annotated[str, Meta(max_length=100)] = "UTC"
    #: For weeks: the days, of `mon` to `sun`; by default the day of `starts_on`.
    weekdays: Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], Meta(max_length=7)] = []
    #: For months: the day; a month that is shorter has its last day instead. By default the day of `starts_on`.
    day: Annotated[int, Meta(ge=1, le=31)] | None = None
    #: The first and the last day, such as `2026-12-01`; by default the day of the launch, and no last day.
    starts_on: Annotated[str, Meta(max_length=10)] | None = None
    ends_on: Annotated[str, Meta(max_length=10)] | None = None


Schedule = SendNow | SendAt | SendLocal | SendAgain


def check_readable(schedule: Schedule) -> None:
    """Raise Invalid, with `field`, for a schedule that cannot be read, whenever it is."""
    if isinstance(schedule, SendAt):
        _zoned(schedule.at)
    elif isinstance(schedule, SendLocal):
        _local(schedule.at)
    elif isinstance(schedule, SendAgain):
        read_zone(schedule.timezone, "schedule.timezone")
        _time_of_day(schedule.at)
        starts, ends = _dates(schedule)
        if starts and ends and ends < starts:
            raise _invalid("ends_on is before starts_on.", "schedule.ends_on")


def check_schedule(schedule: Schedule, now: int) -> None:
    """Raise Invalid, with `field`, for a schedule that cannot be read, lies in the past or too far ahead."""
    check_readable(schedule)
    if isinstance(schedule, SendAt):
        _check_frame(_zoned(schedule.at), now)
    elif isinstance(schedule, SendLocal):
        # It is over when the last zone has passed it.
        _check_frame(_utc(_local(schedule.at)) + LAST_ZONE, now)
    elif isinstance(schedule, SendAgain):
        first = next_time(schedule, now, now)
        if first is None:
            raise _invalid("The recurrence has no time after now.", "schedule.ends_on")
        if first > now + FARTHEST:
            raise _invalid("The recurrence may begin at most 366 days ahead.", "schedule.starts_on")


def first_time(schedule: Schedule, now: int) -> int | None:
    """Return when the first occurrence begins, for a campaign that is launched now; None if it never does."""
    if isinstance(schedule, SendNow):
        return now
    if isinstance(schedule, SendAt):
        return max(_zoned(schedule.at), now)
    if isinstance(schedule, SendLocal):
        return max(_utc(_local(schedule.at)) - FIRST_ZONE - AHEAD, now)
    return next_time(schedule, now, now)


def next_time(schedule: Schedule, after: int, launched_at: int) -> int | None:
    """Return the first time of a recurrence after an instant; None if there is none, or for another schedule."""
    if not isinstance(schedule, SendAgain):
        return None
    zone = read_zone(schedule.timezone, "schedule.timezone")
    starts, ends = _dates(schedule)
    starts = starts or local_day(launched_at, zone)
    at = _time_of_day(schedule.at)
    day = max(starts, local_day(after, zone))
    for _ in range(MOST_DAYS):
        if ends is not None and day > ends:
            return None
        if _falls_on(schedule, starts, day) and (instant := instant_of(day, at, zone)) > after:
            return instant
        day += timedelta(days=1)
    return None


def due_time(schedule: Schedule, zone: ZoneInfo, begins_at: int, now: int) -> int | None:
    """Return when it is a person's turn, in an occurrence that began at `begins_at`; None for a person who is skipped.

    Only a local time depends on the zone of the person.
    """
    if not isinstance(schedule, SendLocal):
        return begins_at
    local = _local(schedule.at)
    due_at = instant_of(local.date(), local.time(), zone)
    if due_at >= now:
        return due_at
    if schedule.late == "next_day":
        # The first day after the one that was set on which the time has not passed.
        day = max(local.date() + timedelta(days=1), local_day(now, zone))
        due_at = instant_of(day, local.time(), zone)
        return due_at if due_at >= now else instant_of(day + timedelta(days=1), local.time(), zone)
    return now if schedule.late == "now" else None


def _falls_on(schedule: SendAgain, starts: date, day: date) -> bool:
    if schedule.every == "day":
        return (day - starts).days % schedule.interval == 0
    if schedule.every == "week":
        days: Sequence[str] = schedule.weekdays or [WEEKDAYS[starts.weekday()]]
        monday = starts - timedelta(days=starts.weekday())
        return WEEKDAYS[day.weekday()] in days and (day - monday).days // 7 % schedule.interval == 0
    months = (day.year - starts.year) * 12 + day.month - starts.month
    wanted_day = min(schedule.day or starts.day, calendar.monthrange(day.year, day.month)[1])
    return day.day == wanted_day and months % schedule.interval == 0


def _dates(schedule: SendAgain) -> tuple[date | None, date | None]:
    def read(text: str | None, name: str) -> date | None:
        if text is None:
            return None
        try:
            found = date.fromisoformat(text)
        except ValueError as error:
            raise _invalid(f"{name} must be a date such as 2026-12-01.", f"schedule.{name}") from error
        _check_year(found, name)
        return found

    return read(schedule.starts_on, "starts_on"), read(schedule.ends_on, "ends_on")


def _zoned(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _invalid("schedule.at must be a time such as 2026-12-01T09:00:00Z.", "schedule.at") from error
    if moment.tzinfo is None:
        raise _invalid(
            "schedule.at needs a time zone, such as 2026-12-01T09:00:00Z or 2026-12-01T09:00:00+01:00. "
            "For the time of each person, set schedule.kind to `local`.",
            "schedule.at",
        )
    try:
        return parse_time(text)
    except Error as error:
        raise _invalid(error.detail, "schedule.at") from error


def _local(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _invalid("schedule.at must be a local time such as 2026-12-01T09:00.", "schedule.at") from error
    if moment.tzinfo is not None:
        raise _invalid("The local time in schedule.at has no time zone: write 2026-12-01T09:00.", "schedule.at")
    _check_year(moment, "at")
    return moment.replace(microsecond=0)


def _time_of_day(text: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007
    except ValueError as error:
        raise _invalid("schedule.at must be a time of the day such as 09:00.", "schedule.at") from error


def _check_year(day: date, name: str) -> None:
    if day.year not in YEARS:
        raise _invalid(f"{name} must be in the years {YEARS[0]} to {YEARS[-1]}.", f"schedule.{name}")


def _utc(moment: datetime) -> int:
    return instant_of(moment.date(), moment.time(), ZoneInfo("UTC"))


def _check_frame(at: int, now: int) -> None:
    if at < now:
        raise _invalid("The time in schedule.at has passed.", "schedule.at")
    if at > now + FARTHEST:
        raise _invalid("schedule.at may be at most 366 days ahead.", "schedule.at")


def _invalid(detail: str, field: str) -> Invalid:
    return Invalid(detail, code="invalid_schedule", field=field)
