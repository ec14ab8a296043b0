"""Delete attempts and deliveries past their retention, and end the pending deliveries of deleted endpoints."""

from waypost.clock import DAY, first_id
from waypost.domain.webhooks.delivery import State
from waypost.engine.accounts.retention import Retention
from waypost.engine.runtime.retention import STEP, delete_in_steps
from waypost.engine.runtime.unit import Counters
from waypost.engine.webhooks.ledger_counts import count_deliveries
from waypost.storage.database import Database, Tx


async def prune_webhooks(database: Database, node: int, now: int, retention: Retention) -> int:
    """Delete attempts past their retention, and deliveries of events past theirs; return how many rows."""
    deleted = 0
    for endpoint_id, workspace_id in await database.read(_endpoints):
        events_before = first_id(now - retention.events_of(workspace_id) * DAY)
        attempts_before = first_id(now - retention.attempts_of(workspace_id) * DAY)
        deleted += await delete_in_steps(database, _prune_attempts, endpoint_id, attempts_before)
        deleted += await delete_in_steps(
            database, _prune_deliveries, endpoint_id, workspace_id, events_before, node, now
        )
    return deleted


async def give_up_deleted(tx: Tx, node: int, now: int) -> int:
    """Mark pending deliveries of deleted endpoints as dead, up to `STEP` for each of ten endpoints; return how many."""
    counters = Counters()
    total = 0
    for endpoint_id, workspace_id in await tx.rows("endpoints.deleted_with_pending", n=10):
        count = await tx.run("deliveries.give_up", endpoint_id=endpoint_id, reason="endpoint_deleted", now=now, n=STEP)
        count_deliveries(counters, node, workspace_id, endpoint_id, pending=-count, dead=count)
        total += count
    await counters.write(tx)
    return total


async def _endpoints(tx: Tx) -> list[tuple[int, int]]:
    return [(row[0], row[1]) for row in await tx.rows("endpoints.all")]


async def _prune_attempts(tx: Tx, endpoint_id: int, before: int) -> int:
    ids = [row[0] for row in await tx.rows("attempts.older", endpoint_id=endpoint_id, before=before, n=STEP)]
    return await tx.run("attempts.delete", endpoint_id=endpoint_id, ids=ids) if ids else 0


async def _prune_deliveries(tx: Tx, endpoint_id: int, workspace_id: int, before: int, node: int, now: int) -> int:
    rows = await tx.rows("deliveries.older", endpoint_id=endpoint_id, before=before, n=STEP)
    if not rows:
        return 0
    pending = sum(state == State.PENDING for _, state in rows)
    if pending:
        # The event of a pending delivery is deleted too, so nothing can be sent any more: the ledger counts it as dead.
        counters = Counters()
        count_deliveries(counters, node, workspace_id, endpoint_id, pending=-pending, dead=pending)
        await counters.write(tx)
    return await tx.run("deliveries.delete", endpoint_id=endpoint_id, ids=[event_id for event_id, _ in rows])
