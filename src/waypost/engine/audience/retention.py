"""Delete the members of deleted lists, and imports past their retention."""

from waypost.clock import DAY, first_id
from waypost.engine.accounts.retention import Retention
from waypost.engine.audience.segments import forget_list
from waypost.engine.runtime.retention import STEP, delete_in_steps
from waypost.storage.database import Database, Tx


async def prune_audience(database: Database, now: int, retention: Retention) -> int:
    """Delete members of deleted lists, and imports as old as events with their rejected rows; return how many rows."""
    deleted = await delete_in_steps(database, _delete_members, now)
    before = first_id(now - retention.event_days * DAY)
    deleted += await delete_in_steps(database, _delete_imports, "imports.oldest", before=before)
    for workspace_id, event_days in retention.events.items():
        of_workspace = {"workspace_id": workspace_id, "before": first_id(now - event_days * DAY)}
        deleted += await delete_in_steps(database, _delete_imports, "imports.oldest_of_workspace", **of_workspace)
    return deleted


async def _delete_members(tx: Tx, now: int) -> int:
    for (list_id,) in await tx.rows("lists.deleted"):
        ids = [row[0] for row in await tx.rows("list_members.oldest", list_id=list_id, n=STEP)]
        await tx.run("list_confirmations.delete", list_id=list_id, ids=ids)
        deleted = await tx.run("list_members.delete", list_id=list_id, ids=ids)
        if len(ids) < STEP:
            await tx.run("list_counts.delete", list_id=list_id)
            await forget_list(tx, list_id, now)
        return deleted
    return 0


async def _delete_imports(tx: Tx, /, select: str, **values: int) -> int:
    for (import_id,) in await tx.rows(select, **values):
        deleted = await tx.run("import_errors.delete", import_id=import_id, n=STEP)
        return deleted + await tx.run("imports.delete_ended", id=import_id)
    return 0
