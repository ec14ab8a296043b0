"""Frequency caps: how many messages a person may be sent in a time."""

from collections.abc import Sequence
from datetime import time, timedelta
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from waypost.clock import CLOCKS_DIFFER, DAY
from waypost.domain.values.local_time import instant_of
from waypost.domain.values.timezones import local_time

#: A calendar period is at most this long, in any zone and whatever the clocks do.
LONGEST_PERIOD = {"day": 2 * DAY, "week": 8 * DAY}


class Calendar(StrEnum):
    """The calendar periods of caps, in the person's time zone."""

    DAY = "day"  #: From midnight to midnight.
    WEEK = "week"  #: From Monday to Sunday.


class RecentSend(NamedTuple):
    """A message that was sent to a person, or is being sent."""

    at: int
    message_id: int
    channel: str
    purpose: str


def allowed_again(
    times: Sequence[int], limit: int, within: int | None, per: Calendar | None, zone: ZoneInfo, now: int
) -> int | None:
    """Return when another message may be sent if the limit is reached now, or None if one may be sent now.

    `times` are those of the messages that count, in order. `within` is the length of a rolling period; else `per`
    says which calendar period counts.
    """
    if within is not None:
        counted = [at for at in times if at > now - within]
        return None if len(counted) < limit else counted[-limit] + within
    today = local_time(zone, now).date()
    begin = today if per is Calendar.DAY else today - timedelta(days=today.weekday())
    if sum(local_time(zone, at).date() >= begin for at in times) < limit:
        return None
    return instant_of(begin + timedelta(days=1 if per is Calendar.DAY else 7), time.min, zone)


def not_ahead(sends: Sequence[RecentSend], now: int) -> list[RecentSend]:
    """Return sends in order; those that a clock which was ahead dated after the present count as of now."""
    return sorted(send._replace(at=now) if send.at > now + CLOCKS_DIFFER else send for send in sends)
