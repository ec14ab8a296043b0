"""Retention: what is older than it may be is deleted, in batches small enough to slow nobody down."""

from waypost.clock import DAY, SECOND, first_id
from waypost.domain.webhooks.delivery import State
from waypost.engine.runtime.unit import Counters
from waypost.engine.webhooks.ledger_counts import count_deliveries
from waypost.storage.database import Database, Tx

#: Rows that one transaction deletes.
STEP = 500
#: Messages past the age that one query looks at.
PAGE = 4 * STEP
#: Days for which a receipt waits for its message, and for which a throttle that nothing draws on is kept.
UNMATCHED_DAYS = 7
#: Days for which the hourly counts of messages are kept: long enough to compare with the same week a year ago.
COUNT_DAYS = 400


async def prune(database: Database, node: int, now: int, event_days: int, attempt_days: int) -> int:
    """Delete everything that is past its time; gives back how many rows went."""
    gone = 0
    events_before = first_id(now - event_days * DAY)
    attempts_before = first_id(now - attempt_days * DAY)
    for endpoint_id, workspace_id in await database.read(_endpoints):
        while count := await database.transact(_prune_attempts, endpoint_id, attempts_before):
            gone += count
        while count := await database.transact(_prune_deliveries, endpoint_id, workspace_id, events_before, node, now):
            gone += count
    while count := await database.transact(_prune_events, events_before):
        gone += count
    gone += await _prune_messages(database, events_before, now - event_days * DAY)
    for work, before in (
        (_prune_quarantine, events_before),
        (_prune_unmatched, first_id(now - UNMATCHED_DAYS * DAY)),
        (_prune_buckets, now - UNMATCHED_DAYS * DAY),
        (_prune_counts, (now - COUNT_DAYS * DAY) // SECOND),
    ):
        while count := await database.transact(work, before):
            gone += count
    while count := await database.transact(_prune_idempotency, now - DAY):
        gone += count
    return gone


async def give_up_deleted(tx: Tx, node: int, now: int) -> int:
    """Pending deliveries of deleted endpoints are dead; some at a time. Gives back how many."""
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
        # The ledger keeps what was never delivered as dead: the event is too old to be sent.
        counters = Counters()
        count_deliveries(counters, node, workspace_id, endpoint_id, pending=-pending, dead=pending)
        await counters.write(tx)
    return await tx.run("deliveries.delete", endpoint_id=endpoint_id, ids=[event_id for event_id, _ in rows])


async def _prune_events(tx: Tx, before: int) -> int:
    ids = [row[0] for row in await tx.rows("events.oldest", before=before, n=STEP)]
    return await tx.run("events.delete", ids=ids) if ids else 0


async def _prune_messages(database: Database, accepted_before: int, settled_before: int) -> int:
    """Delete messages that owe nothing any more and have not changed since `settled_before`.

    Messages that are still owed may be older than that by far. They are passed by outside the writer's transaction.
    """
    gone = after = 0
    while page := await database.read(_page, after, accepted_before, settled_before):
        after = page[-1][0]
        settled = [id_ for id_, is_settled in page if is_settled]
        for start in range(0, len(settled), STEP):
            gone += await database.transact(_delete_messages, settled[start : start + STEP], settled_before)
    return gone


async def _page(tx: Tx, after: int, accepted_before: int, settled_before: int) -> list[tuple[int, bool]]:
    rows = await tx.rows("messages.aged", after=after, before=accepted_before, settled_before=settled_before, n=PAGE)
    return [(row[0], bool(row[1])) for row in rows]


async def _delete_messages(tx: Tx, ids: list[int], settled_before: int) -> int:
    gone = await tx.run("messages.delete", ids=ids, settled_before=settled_before)
    await tx.run("message_contents.delete", ids=ids)
    return gone


async def _prune_quarantine(tx: Tx, before: int) -> int:
    ids = [row[0] for row in await tx.rows("quarantine.older", before=before, n=STEP)]
    return await tx.run("quarantine.delete", ids=ids) if ids else 0


async def _prune_unmatched(tx: Tx, before: int) -> int:
    ids = [row[0] for row in await tx.rows("unmatched.older", before=before, n=STEP)]
    return await tx.run("unmatched.delete", ids=ids) if ids else 0


async def _prune_buckets(tx: Tx, before: int) -> int:
    ids = [row[0] for row in await tx.rows("buckets.unused", before=before, n=STEP)]
    return await tx.run("buckets.delete", ids=ids) if ids else 0


async def _prune_counts(tx: Tx, before: int) -> int:
    rows = await tx.rows("message_counts.oldest", before=before, n=20)
    return sum([await tx.run("message_counts.delete", workspace_id=row[0], hour=row[1]) for row in rows])


async def _prune_idempotency(tx: Tx, before: int) -> int:
    return await tx.run("idempotency.prune", before=before, n=STEP)
