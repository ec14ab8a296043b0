"""The Retry-After header (RFC 9110, 10.2.3)."""

from datetime import UTC
from email.utils import parsedate_to_datetime

from waypost.clock import DAY, SECOND


def retry_after(value: str | None, now: int) -> int | None:
    """Return the wait that a Retry-After header asks for, in microseconds from 0 to a day; None if it is not valid."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(int(text.lstrip("0")[:12] or "0") * SECOND, DAY)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        # An offset of -0000 also means UTC, not the local time zone.
        moment = moment.replace(tzinfo=UTC)
    return min(max(int(moment.timestamp()) * SECOND - now, 0), DAY)
