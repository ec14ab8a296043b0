"""How long another server asks to wait."""

from datetime import UTC
from email.utils import parsedate_to_datetime

from waypost.clock import DAY, SECOND


def retry_after(value: str | None, now: int) -> int | None:
    """How long a Retry-After header asks to wait, in microseconds: at most a day, never less than nothing."""
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
        # An offset of -0000 is UTC as well, and not this machine's zone.
        moment = moment.replace(tzinfo=UTC)
    return min(max(int(moment.timestamp()) * SECOND - now, 0), DAY)
