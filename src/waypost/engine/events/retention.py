"""Delete events past their retention."""

from waypost.clock import DAY, first_id
from waypost.engine.runtime.retention import delete_in_steps, delete_selected
from waypost.storage.database import Database


async def prune_events(database: Database, now: int, event_days: int) -> int:
    """Delete events older than `event_days`; return how many rows were deleted."""
    before = first_id(now - event_days * DAY)
    return await delete_in_steps(database, delete_selected, "events.oldest", "events.delete", before=before)
