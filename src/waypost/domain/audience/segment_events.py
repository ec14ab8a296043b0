"""The events of segments: a person entered one or left it."""

import msgspec

from waypost.domain.events.event import Event
from waypost.domain.values.ids import public

ENTERED, LEFT = "segment.entered", "segment.left"

_encode = msgspec.json.Encoder().encode


class SegmentSummary(msgspec.Struct):
    """The segment of an event."""

    id: str
    name: str
    version: int


class SegmentEventContents(msgspec.Struct):
    """The data of `segment.entered` and `segment.left`, without the ids of the event."""

    segment: SegmentSummary


def segment_event(
    workspace_id: int, segment_id: int, name: str, version: int, profile_id: int, entered: bool, now: int
) -> Event:
    """Return the event for a person who entered a segment or left it."""
    id_ = public("seg", segment_id)
    return Event(
        workspace_id,
        ENTERED if entered else LEFT,
        profile_id,
        now,
        # A membership changes at most once at one time.
        f"{id_}:{profile_id:016x}:{now:x}",
        _encode(SegmentEventContents(SegmentSummary(id_, name, version))),
    )
