"""Parse the times that clients send."""

from datetime import UTC, datetime, timedelta

from waypost.domain.values.json_numbers import LARGEST
from waypost.errors import Invalid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: The range of `datetime`, the years 1 to 9999, in microseconds.
_EARLIEST = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def parse_time(value: str | float) -> int:
    """Return microseconds since 1970 for an ISO 8601 text, or for a number of seconds or milliseconds since 1970.

    Raise Invalid (code `invalid_time`) for anything else.
    """
    if isinstance(value, int) and abs(value) > LARGEST:
        # Python may refuse to convert a larger number to text.
        raise Invalid("The time is a number that does not fit in 64 bits.", code="invalid_time")
    try:
        if isinstance(value, str) and value.isdigit() and len(value) > 8:
            # A date has no more digits; `fromisoformat` would read some of these as a date.
            value = int(value[:20])
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            result = (moment - _EPOCH) // _MICROSECOND
        else:
            # As milliseconds, smaller numbers lie before 1973; as seconds, larger ones lie after 5138.
            result = int(value * 1_000) if abs(value) >= 1e11 else int(value * 1_000_000)
    except (ValueError, OverflowError) as error:
        raise Invalid(f"{str(value)[:60]!r} is not an ISO-8601 time.", code="invalid_time") from error
    return check_time(result, value)


def check_time(at: int, value: str | float) -> int:
    """Return a time in microseconds; raise Invalid, naming the given value, outside of the years 1 to 9999."""
    if not _EARLIEST <= at <= _LATEST:
        raise Invalid(f"{str(value)[:60]!r} gives a time outside the years 1 to 9999.", code="invalid_time")
    return at
