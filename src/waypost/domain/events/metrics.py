"""Metrics: their names and statuses, the intervals of a chart, and readable names for a feed of events."""

import hashlib
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any

import msgspec

from waypost.clock import DAY, MINUTE, SECOND
from waypost.errors import Invalid

#: The event types of texts: a request was accepted, and a status came about.
REQUESTED, STATUS = "text.requested", "text.status"
#: The length of the smallest interval that is counted: offsets of time zones are multiples of it.
QUARTER = 15 * MINUTE
#: The most metrics of a workspace. The events of other names are counted under one more, `OTHER`, per source.
MOST_METRICS = 10_000
OTHER = "other"
#: The metric of texts whose request names none.
UNNAMED = "Text Message Status"
#: The most characters of a metric's name and of a status.
NAME_CHARACTERS, STATUS_CHARACTERS = 512, 64
#: The longest period of a chart, by interval.
LONGEST = {"hour": 31 * DAY, "day": 92 * DAY}
#: The period in which times can be converted to any time zone and back.
_EARLIEST, _LATEST = 0, 4_000_000_000 * SECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Contents(msgspec.Struct):
    """The fields of an event's data that say which metric it belongs to; other types of values are ignored."""

    metric: Any = None
    metric_name: Any = msgspec.field(default=None, name="metricName")
    status: Any = msgspec.field(default=None, name="Status")


_contents = msgspec.json.Decoder(_Contents)


def metric_of_status(data: bytes) -> tuple[str, str]:
    """Return the name of the metric and the status of a `text.status` event."""
    contents = _read(data)
    return text_metric(contents.metric_name), read_status(contents.status)


def _read(data: bytes) -> _Contents:
    try:
        return _contents.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Data that no reader accepts has no metric; it must not keep the rest of its batch from being recorded.
        return _Contents()


def text_metric(name: object) -> str:
    """Return the metric that a request for a text names.

    Of a name that is too long, the beginning and a digest are kept, so that two such names stay two.
    """
    if not isinstance(name, str) or not name.strip():
        return UNNAMED
    name = name.replace("\0", "\ufffd")
    if len(name) <= NAME_CHARACTERS:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    return f"{name[: NAME_CHARACTERS - 17]}…{digest}"


def read_status(status: object) -> str:
    """Return a status as events spell it: `Not found` is NOT_FOUND. Anything but text is no status."""
    if not isinstance(status, str):
        return ""
    return "_".join(status.replace("\0", "").replace("_", " ").replace("-", " ").split()).upper()[:STATUS_CHARACTERS]


def describe_event(type_: str, data: bytes) -> tuple[str, str | None]:
    """Return a readable name for an event, and its status if it has one.

    A tracked event and the status of a text have the name of their metric.
    """
    if type_ == REQUESTED:
        return "Webhook Send Successful", None
    if type_ == STATUS:
        name, status = metric_of_status(data)
        return name, status or None
    if type_.startswith("event."):
        metric = _read(data).metric
        if isinstance(metric, str) and metric:
            return metric, None
    return type_.replace("_", " ").replace(".", " ").capitalize(), None


def intervals(since: int, until: int, interval: str, zone: tzinfo) -> list[int]:
    """Return the starts of the intervals of a period, and the end of the last one.

    The first interval contains `since`, and the last one the last moment before `until`. Hours and days are those of
    the time zone, so that a day may have 23 or 25 hours. Raise Invalid for a period that is empty or too long.
    """
    if not _EARLIEST <= since < until <= _LATEST:
        detail = "The period is empty or outside the years 1970 to 2096: `until` must be later than `since`."
        raise Invalid(detail, code="invalid_period")
    if until - since > LONGEST[interval]:
        detail = f"The period is longer than {LONGEST[interval] // DAY} days, the most for this interval. Shorten it."
        raise Invalid(detail, code="invalid_period")
    edges = _days(since, until, zone) if interval == "day" else _hours(since, until, zone)
    # A day that a zone skipped has no length.
    return [edge for edge, following in pairwise(edges) if edge < following] + edges[-1:]


def spans(edges: list[int]) -> list[tuple[int, int, int, int, int]]:
    """Return what to add up for each interval: its number, a period, the length of its counters in minutes, and a sign.

    A long interval is the days in UTC nearest to it, plus or minus the quarters of an hour by which it differs: a day
    in Berlin is one day and at most sixteen quarters, not 96.
    """
    found = []
    for number, (start, end) in enumerate(pairwise(edges)):
        first, last = ((edge + DAY // 2) // DAY * DAY for edge in (start, end))
        if first >= last:
            found.append((number, start, end, QUARTER // MINUTE, 1))
            continue
        found.append((number, first, last, DAY // MINUTE, 1))
        for one, other, sign in ((start, first, 1), (first, start, -1), (last, end, 1), (end, last, -1)):
            if one < other:
                found.append((number, one, other, QUARTER // MINUTE, sign))
    return found


def _days(since: int, until: int, zone: tzinfo) -> list[int]:
    """Return the midnights from the one before a period to the one after it."""
    day = _local(since, zone).date()
    edges = [_midnight(day, zone)]
    while edges[-1] < until:
        day += timedelta(days=1)
        edges.append(_midnight(day, zone))
    return edges


def _midnight(day: date, zone: tzinfo) -> int:
    """Return when a day begins: at the first of two midnights, or when the clocks jump over midnight."""
    return (datetime(day.year, day.month, day.day, tzinfo=zone) - _EPOCH) // timedelta(microseconds=1)


def _hours(since: int, until: int, zone: tzinfo) -> list[int]:
    """Return the full hours from the one before a period to the one after it, and the moments when clocks change."""
    at = since // QUARTER * QUARTER
    hour = _hour(at, zone)
    while _hour(at - QUARTER, zone) == hour:
        at -= QUARTER
    edges = [at]
    while edges[-1] < until:
        at += QUARTER
        following = _hour(at, zone)
        if following != hour:
            edges.append(at)
            hour = following
    return edges


def _hour(at: int, zone: tzinfo) -> tuple[object, ...]:
    local = _local(at, zone)
    return local.date(), local.hour, local.utcoffset()


def _local(at: int, zone: tzinfo) -> datetime:
    return (_EPOCH + timedelta(microseconds=at)).astimezone(zone)
