"""Durations as people write them: `90s`, `15m`, `4h`, `30d`, `2w`."""

import re

from waypost.clock import DAY, HOUR, MINUTE, SECOND
from waypost.errors import Invalid

#: By letter, in microseconds.
UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_FORM = re.compile(r"([0-9]{1,9})([smhdw])")
LONGEST = 3660 * DAY


def duration_of(text: str) -> int | None:
    """Return the microseconds of a text such as `30d`, or None for another form. The caller bounds them."""
    found = _FORM.fullmatch(text)
    return None if found is None else int(found[1]) * UNITS[found[2]]


def parse_duration(text: str, field: str) -> int:
    """Return a duration in microseconds; raise Invalid, with `field`, for another form or more than ten years."""
    length = duration_of(text)
    if length is None or not 0 < length <= LONGEST:
        raise Invalid(
            f"{text[:40]!r} is not a duration; write a number and a unit (s, m, h, d or w), such as 30d.",
            code="invalid_duration",
            field=field,
        )
    return length
