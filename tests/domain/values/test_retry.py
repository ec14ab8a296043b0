"""The Retry-After header."""

import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.clock import DAY, SECOND
from waypost.domain.values.retry import retry_after

NOW = 1_790_000_000 * SECOND


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        (None, None),
        ("0", 0),
        ("120", 120 * SECOND),
        (" 7 ", 7 * SECOND),
        ("0000000000000000000007", 7 * SECOND),
        ("86400", DAY),
        ("86401", DAY),
        ("9" * 10_000, DAY),
        ("Mon, 21 Sep 2026 14:15:20 GMT", 120 * SECOND),
        ("Monday, 21-Sep-26 14:15:20 GMT", 120 * SECOND),
        ("Mon, 21 Sep 2026 16:15:20 +0200", 120 * SECOND),
        ("Mon, 21 Sep 2026 14:15:20 -0000", 120 * SECOND),
        ("Mon, 21 Sep 2026 14:15:20", 120 * SECOND),
        ("Mon, 21 Sep 2026 14:13:19 GMT", 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", DAY),
        ("Fri, 31 Dec 9999 23:59:59 -2359", DAY),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("١٢٠", None),
        ("²", None),
        ("Mon, 32 Sep 2026 14:15:20 GMT", None),
        ("Mon, 21 Sep 2026 99:15:20 GMT", None),
        ("Mon, 21 Sep 2026 14:15:20 +9999999999", None),
    ],
)
def test_retry_after_is_honoured_up_to_a_day(value, wait):
    assert retry_after(value, NOW) == wait


def test_a_date_without_a_zone_is_utc_wherever_this_machine_is(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert retry_after("Mon, 21 Sep 2026 14:15:20 -0000", NOW) == 120 * SECOND
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.datetimes(datetime(1900, 1, 1), datetime(9999, 12, 31)))  # noqa: DTZ001 the zone is given below
def test_a_date_asks_for_the_time_until_then(moment):
    moment = moment.replace(tzinfo=UTC, microsecond=0)
    until = int(moment.timestamp()) * SECOND - NOW
    assert retry_after(format_datetime(moment, usegmt=True), NOW) == min(max(until, 0), DAY)


@given(st.text() | st.from_regex(r"(Mon, )?[0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,5} [0-9:]{0,9}( [+-][0-9]{1,9})?"))
def test_no_header_does_harm(value):
    wait = retry_after(value, NOW)
    assert wait is None or 0 <= wait <= DAY
