"""Delete what keeps texts from being sent twice, once it is over."""

from waypost.engine.runtime.retention import STEP, delete_in_steps
from waypost.storage.database import Database, Tx


async def prune_texts(database: Database, now: int) -> int:
    """Delete the digests of texts that were accepted more than 24 hours ago; return how many."""
    return await delete_in_steps(database, _prune_repeats, now)


async def _prune_repeats(tx: Tx, now: int) -> int:
    return await tx.run("text_repeats.prune", now=now, n=STEP)
