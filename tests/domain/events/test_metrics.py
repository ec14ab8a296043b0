"""Metrics: names and statuses as strangers write them, intervals of charts across changes of the clocks, and names."""

import json
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.clock import DAY, HOUR, MINUTE
from waypost.domain.events.metrics import (
    LONGEST,
    NAME_CHARACTERS,
    QUARTER,
    STATUS_CHARACTERS,
    UNNAMED,
    describe_event,
    intervals,
    metric_of_status,
    read_status,
    spans,
    text_metric,
)
from waypost.errors import Invalid

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana"]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


def local(edges: list[int], zone: tzinfo) -> list[str]:
    return [datetime.fromtimestamp(edge / 1e6, zone).isoformat()[:16] for edge in edges]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Birthday", "Birthday"),
        ("誕生日 🎂", "誕生日 🎂"),
        ("  spaced ", "  spaced "),
        ("a\0b", "a\ufffdb"),
        (None, UNNAMED),
        ("", UNNAMED),
        (" \n", UNNAMED),
        (7, UNNAMED),
        (["x"], UNNAMED),
        ("x" * NAME_CHARACTERS, "x" * NAME_CHARACTERS),
    ],
)
def test_the_metric_of_a_text(name: object, expected: str):
    assert text_metric(name) == expected


def test_long_names_are_cut_and_stay_apart():
    long = [text_metric("x" * 600 + end) for end in ("", "a", "b")]
    assert len(set(long)) == 3
    assert {len(name) for name in long} == {NAME_CHARACTERS}
    assert long[0].startswith("x" * (NAME_CHARACTERS - 17) + "…")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("DELIVERED", "DELIVERED"),
        ("Delivered", "DELIVERED"),
        ("NOT FOUND", "NOT_FOUND"),
        ("failed-to_delivery ", "FAILED_TO_DELIVERY"),
        ("", ""),
        (None, ""),
        (5, ""),
        ("x\0" * 100, "X" * STATUS_CHARACTERS),
    ],
)
def test_a_status_is_read_in_any_spelling(status: object, expected: str):
    assert read_status(status) == expected


@pytest.mark.parametrize("data", [b"", b"[]", b'{"metricName": "\\ud800"}', b"\xff", b'{"a":' * 100_000])
def test_data_that_nobody_can_read_has_no_metric(data: bytes):
    assert metric_of_status(data) == (UNNAMED, "")


@pytest.mark.parametrize(
    ("type_", "data", "expected"),
    [
        ("text.requested", {"MessageID": "msg_1"}, ("Webhook Send Successful", None)),
        ("text.status", {"metricName": "Birthday", "Status": "SENDING"}, ("Birthday", "SENDING")),
        ("text.status", {}, (UNNAMED, None)),
        ("event.order_shipped", {"metric": "Order Shipped"}, ("Order Shipped", None)),
        ("event.order_shipped", {"metric": 5}, ("Event order shipped", None)),
        ("profile.identified", {}, ("Profile identified", None)),
        ("message.delivered", {"metric": "not this"}, ("Message delivered", None)),
    ],
)
def test_events_have_readable_names(type_: str, data: object, expected: tuple[str, str | None]):
    assert describe_event(type_, json.dumps(data).encode()) == expected


def test_days_of_utc():
    edges = intervals(at("2026-03-01T10:00Z"), at("2026-03-03T00:00Z"), "day", UTC)
    assert local(edges, UTC) == ["2026-03-01T00:00", "2026-03-02T00:00", "2026-03-03T00:00"]
    # One moment more, and the day of that moment belongs to it.
    assert len(intervals(at("2026-03-01T10:00Z"), at("2026-03-03T00:00Z") + 1, "day", UTC)) == 4


def test_days_have_23_and_25_hours_where_clocks_change():
    berlin = ZoneInfo("Europe/Berlin")
    spring = intervals(at("2026-03-28T12:00+01:00"), at("2026-03-30T12:00+02:00"), "day", berlin)
    assert [(b - a) // HOUR for a, b in pairwise(spring)] == [24, 23, 24]
    autumn = intervals(at("2026-10-24T12:00+02:00"), at("2026-10-26T12:00+01:00"), "day", berlin)
    assert [(b - a) // HOUR for a, b in pairwise(autumn)] == [24, 25, 24]
    assert {text[11:] for text in local(spring + autumn, berlin)} == {"00:00"}


def test_an_hour_that_clocks_repeat_is_two_and_one_they_skip_is_none():
    berlin = ZoneInfo("Europe/Berlin")
    autumn = intervals(at("2026-10-25T01:30+02:00"), at("2026-10-25T03:01+01:00"), "hour", berlin)
    assert [text[11:] for text in local(autumn, berlin)] == ["01:00", "02:00", "02:00", "03:00", "04:00"]
    spring = intervals(at("2026-03-29T01:00+01:00"), at("2026-03-29T04:00+02:00"), "hour", berlin)
    assert [text[11:] for text in local(spring, berlin)] == ["01:00", "03:00", "04:00"]


def test_hours_and_days_of_zones_off_the_hour():
    nepal = ZoneInfo("Asia/Kathmandu")
    hours = intervals(at("2026-05-01T00:00Z"), at("2026-05-01T02:00Z"), "hour", nepal)
    assert local(hours, nepal) == ["2026-05-01T05:00", "2026-05-01T06:00", "2026-05-01T07:00", "2026-05-01T08:00"]
    assert {edge % HOUR for edge in hours} == {15 * MINUTE}
    # Its clocks change by half an hour.
    howe = ZoneInfo("Australia/Lord_Howe")
    change = intervals(at("2026-10-04T01:00+10:30"), at("2026-10-04T04:00+11:00"), "hour", howe)
    assert [text[11:] for text in local(change, howe)] == ["01:00", "02:30", "03:00", "04:00"]


def test_a_midnight_that_clocks_skip_or_repeat_is_the_first_moment_of_the_day():
    # Beirut skips from 24:00 to 01:00; Havana repeats the hour from 00:00.
    beirut, havana = ZoneInfo("Asia/Beirut"), ZoneInfo("America/Havana")
    edges = intervals(at("2026-03-28T12:00+02:00"), at("2026-03-29T12:00+03:00"), "day", beirut)
    assert local(edges, beirut) == ["2026-03-28T00:00", "2026-03-29T01:00", "2026-03-30T00:00"]
    edges = intervals(at("2026-11-01T12:00-05:00"), at("2026-11-01T13:00-05:00"), "day", havana)
    assert (edges[1] - edges[0]) // HOUR == 25


def test_a_day_that_a_zone_skipped_is_left_out():
    apia = ZoneInfo("Pacific/Apia")
    edges = intervals(at("2011-12-29T12:00-10:00"), at("2011-12-31T12:00+14:00"), "day", apia)
    assert [text[:10] for text in local(edges, apia)] == ["2011-12-29", "2011-12-31", "2012-01-01"]


@pytest.mark.parametrize(
    ("since", "until", "interval"),
    [
        (DAY, DAY, "day"),
        (2 * DAY, DAY, "day"),
        (-1, DAY, "day"),
        (0, LONGEST["day"] + 1, "day"),
        (0, LONGEST["hour"] + 1, "hour"),
        (4_000_000_000_000_000 - DAY, 4_000_000_000_000_001, "day"),
        (-62_000_000_000_000_000, 253_000_000_000_000_000, "day"),
    ],
)
def test_periods_that_are_empty_too_long_or_too_far_are_refused(since: int, until: int, interval: str):
    with pytest.raises(Invalid) as caught:
        intervals(since, until, interval, UTC)
    assert caught.value.code == "invalid_period"


@given(
    since=st.integers(100 * DAY, 30_000 * DAY),
    length=st.integers(1, 31 * DAY),
    interval=st.sampled_from(["hour", "day"]),
    zone=st.sampled_from(ZONES),
)
def test_intervals_cover_a_period_and_no_interval_is_needless(since: int, length: int, interval: str, zone: str):
    edges = intervals(since, since + length, interval, ZoneInfo(zone))
    assert edges[0] <= since < edges[1]
    assert edges[-2] < since + length <= edges[-1]
    longest = timedelta(hours=25) if interval == "day" else timedelta(hours=1, minutes=30)
    assert all(0 < b - a <= longest / timedelta(microseconds=1) for a, b in pairwise(edges))
    if since > 1_000 * DAY:
        # Until 1972, a few zones had offsets that cut a quarter of an hour.
        assert {edge % QUARTER for edge in edges} == {0}


@given(
    edges=st.lists(st.integers(0, 40 * 96), min_size=2, max_size=8, unique=True).map(sorted),
    happened=st.lists(st.integers(0, 40 * 96 - 1), max_size=30),
)
def test_spans_add_up_to_what_happened_in_each_interval(edges: list[int], happened: list[int]):
    sums = [0] * (len(edges) - 1)
    for number, start, end, minutes, sign in spans([edge * QUARTER for edge in edges]):
        assert start % (minutes * MINUTE) == end % (minutes * MINUTE) == 0
        sums[number] += sign * sum(start <= quarter * QUARTER < end for quarter in happened)
    assert sums == [sum(a <= quarter < b for quarter in happened) for a, b in pairwise(edges)]


def test_a_day_of_a_zone_takes_few_look_ups():
    for zone, most in (("UTC", 0), ("Europe/Berlin", 16), ("Asia/Kathmandu", 46), ("Pacific/Auckland", 96)):
        edges = intervals(at("2026-03-01T00:00Z"), at("2026-04-30T00:00Z"), "day", ZoneInfo(zone))
        found = spans(edges)
        quarters = sum((end - start) // QUARTER for _, start, end, minutes, _ in found if minutes == 15)
        assert quarters <= most * (len(edges) - 1)
        assert sum((end - start) // DAY for _, start, end, minutes, _ in found if minutes == 1440) <= len(edges)
