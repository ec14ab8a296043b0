"""The time zone of a person."""

from zoneinfo import ZoneInfo

from waypost.domain.values.local_time import find_zone
from waypost.engine.audience.recipients import Recipient

_UTC = ZoneInfo("UTC")


def zone_of(workspace_id: int, person: Recipient) -> ZoneInfo:
    """Return the zone of a person: the trait `timezone`, else UTC."""
    name = person.traits.get("timezone")
    return (find_zone(name) if isinstance(name, str) else None) or _UTC
