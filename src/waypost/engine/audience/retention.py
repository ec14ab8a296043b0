"""Delete the members of deleted lists, and imports past their retention."""

from waypost.clock import DAY, first_id
from waypost.engine.runtime.retention import STEP, delete_in_steps
from waypost.storage.database import Database, Tx


async def prune_audience(database: Database, node: int, now: int, event_days: int) -> int:
    """Delete members of deleted lists, and imports older than `event_days` with their rejected rows; return how many
    rows were deleted."""
    deleted = await delete_in_steps(database, _delete_members)
    return deleted + await delete_in_steps(database, _delete_imports, first_id(now - event_days * DAY))


async def _delete_members(tx: Tx) -> int:
    for (list_id,) in await tx.rows("lists.deleted"):
        ids = [row[0] for row in await tx.rows("list_members.oldest", list_id=list_id, n=STEP)]
        await tx.run("list_confirmations.delete", list_id=list_id, ids=ids)
        deleted = await tx.run("list_members.delete", list_id=list_id, ids=ids)
        if len(ids) < STEP:
            await tx.run("list_counts.delete", list_id=list_id)
        return deleted
    return 0


async def _delete_imports(tx: Tx, before: int) -> int:
    for (import_id,) in await tx.rows("imports.oldest", before=before):
        deleted = await tx.run("import_errors.delete", import_id=import_id, n=STEP)
        return deleted + await tx.run("imports.delete_ended", id=import_id)
    return 0
