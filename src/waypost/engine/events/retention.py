"""Delete events, and what was counted of them, past their retention."""

import msgspec

from waypost.clock import DAY, first_id
from waypost.engine.accounts.retention import Retention
from waypost.engine.runtime.retention import STEP, delete_in_steps, delete_selected
from waypost.storage.database import Database, Row, Tx

_encode = msgspec.json.Encoder().encode
#: Intervals whose counts one transaction deletes.
INTERVALS = 20
#: The queries that find what is old, of all workspaces and of one: entries of feeds, ends of intervals, events.
_ALL = ("metric_events.older", "metric_counts.oldest", "events.oldest")
_OF_WORKSPACE = ("metric_events.older_of_workspace", "metric_counts.oldest_of_workspace", "events.oldest_of_workspace")


async def prune_events(database: Database, now: int, retention: Retention) -> int:
    """Delete events past their retention; return how many rows were deleted.

    Metrics keep their names and their counts over all time.
    """
    deleted = await _prune(database, now, retention.event_days, _ALL)
    for workspace_id, event_days in retention.events.items():
        deleted += await _prune(database, now, event_days, _OF_WORKSPACE, workspace_id=workspace_id)
    return deleted


async def _prune(database: Database, now: int, event_days: int, queries: tuple[str, str, str], **where: int) -> int:
    """Delete events older than `event_days` that these queries find; return how many rows were deleted."""
    entries, counts, events = queries
    before = first_id(now - event_days * DAY)
    # Entries first: a feed does not count events that are gone.
    deleted = 0
    while rows := await database.read(_select, entries, before=before, **where):
        deleted += await database.transact(_delete_entries, rows)
    # Whole days: a chart adds up days and quarters of an hour, of which none may be missing.
    whole = (now // DAY - event_days) * DAY
    deleted += await delete_in_steps(database, _prune_counts, counts, before=whole, **where)
    return deleted + await delete_in_steps(database, delete_selected, events, "events.delete", before=before, **where)


async def _select(tx: Tx, /, select: str, **values: int) -> list[Row]:
    return await tx.rows(select, n=STEP, **values)


async def _delete_entries(tx: Tx, rows: list[Row]) -> int:
    return await tx.run("metric_events.delete", rows=_encode(rows).decode())


async def _prune_counts(tx: Tx, /, select: str, **values: int) -> int:
    rows = await tx.rows(select, n=INTERVALS, **values)
    return sum(
        [
            await tx.run("metric_counts.delete", workspace_id=workspace_id, ends_at=ends_at)
            for workspace_id, ends_at in rows
        ]
    )
