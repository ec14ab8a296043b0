"""Delete rows past their retention in small transactions; each area says which of its rows those are."""

from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec

from waypost.clock import DAY
from waypost.storage.database import Database, Tx

#: Rows that one transaction deletes.
STEP = 500

P = ParamSpec("P")


async def delete_in_steps(
    database: Database, step: Callable[Concatenate[Tx, P], Awaitable[int]], *args: P.args, **kwargs: P.kwargs
) -> int:
    """Run a step in transactions of its own until it deletes nothing; return how many rows it deleted in all."""
    deleted = 0
    while count := await database.transact(step, *args, **kwargs):
        deleted += count
    return deleted


async def delete_selected(tx: Tx, /, select: str, delete: str, **values: Any) -> int:
    """Delete up to `STEP` rows by the ids that the query `select` returns; return how many it deleted."""
    ids = [row[0] for row in await tx.rows(select, n=STEP, **values)]
    return await tx.run(delete, ids=ids) if ids else 0


async def prune_idempotency(database: Database, now: int) -> int:
    """Delete idempotency keys, with their responses, a day after their requests."""
    return await delete_in_steps(database, _prune_keys, now - DAY)


async def _prune_keys(tx: Tx, before: int) -> int:
    return await tx.run("idempotency.prune", before=before, n=STEP)
