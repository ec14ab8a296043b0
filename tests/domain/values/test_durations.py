"""Durations are read as people write them, and everything else is refused with the name of the field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.clock import DAY, HOUR, MINUTE, SECOND
from waypost.domain.values.durations import LONGEST, parse_duration
from waypost.errors import Invalid


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("1s", SECOND),
        ("90s", 90 * SECOND),
        ("15m", 15 * MINUTE),
        ("4h", 4 * HOUR),
        ("30d", 30 * DAY),
        ("2w", 14 * DAY),
        ("007d", 7 * DAY),
        ("3660d", LONGEST),
    ],
)
def test_durations_are_read(text: str, length: int):
    assert parse_duration(text, "within") == length


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "0s",
        "0w",
        "-1d",
        "+1d",
        "1",
        "1.5h",
        "1 d",
        " 1d",
        "1d ",
        "1d\n",
        "1D",
        "1y",
        "1dd",
        "1d1h",
        "٣d",
        "1_0d",
        "3661d",
        "523w",
        "999999999w",
        "9999999999s",
        "1d\0",
        "\ud800",
    ],
)
def test_others_are_refused(text: str):
    with pytest.raises(Invalid) as raised:
        parse_duration(text, "conversion.within")
    assert (raised.value.code, raised.value.extra) == ("invalid_duration", {"field": "conversion.within"})
    assert len(raised.value.detail) < 300


@given(st.text(max_size=20) | st.from_regex(r"[0-9]{1,12}[smhdwy]?"))
def test_no_text_is_longer_than_ten_years(text: str):
    try:
        length = parse_duration(text, "x")
    except Invalid:
        return
    assert 0 < length <= LONGEST
