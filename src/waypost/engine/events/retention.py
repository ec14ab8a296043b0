"""Delete events, and what was counted of them, past their retention."""

import msgspec

from waypost.clock import DAY, first_id
from waypost.engine.runtime.retention import STEP, delete_in_steps, delete_selected
from waypost.storage.database import Database, Row, Tx

_encode = msgspec.json.Encoder().encode
#: Intervals whose counts one transaction deletes.
INTERVALS = 20


async def prune_events(database: Database, now: int, event_days: int) -> int:
    """Delete events older than `event_days`; return how many rows were deleted.

    Metrics keep their names and their counts over all time.
    """
    before = first_id(now - event_days * DAY)
    # Entries first: a feed does not count events that are gone.
    deleted = 0
    while rows := await database.read(_old_entries, before):
        deleted += await database.transact(_delete_entries, rows)
    # Whole days: a chart adds up days and quarters of an hour, of which none may be missing.
    deleted += await delete_in_steps(database, _prune_counts, (now // DAY - event_days) * DAY)
    return deleted + await delete_in_steps(database, delete_selected, "events.oldest", "events.delete", before=before)


async def _old_entries(tx: Tx, before: int) -> list[Row]:
    return await tx.rows("metric_events.older", before=before, n=STEP)


async def _delete_entries(tx: Tx, rows: list[Row]) -> int:
    return await tx.run("metric_events.delete", rows=_encode(rows).decode())


async def _prune_counts(tx: Tx, before: int) -> int:
    rows = await tx.rows("metric_counts.oldest", before=before, n=INTERVALS)
    return sum(
        [
            await tx.run("metric_counts.delete", workspace_id=workspace_id, ends_at=ends_at)
            for workspace_id, ends_at in rows
        ]
    )
