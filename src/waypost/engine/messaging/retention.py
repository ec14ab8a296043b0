"""Delete messages, receipts and counts past their retention."""

from waypost.clock import DAY, SECOND, first_id
from waypost.engine.runtime.retention import STEP, delete_in_steps, delete_selected
from waypost.storage.database import Database, Row, Tx

#: Messages past the retention that one query reads.
PAGE = 4 * STEP
#: Days for which a receipt without a message is kept, and a rate limit bucket that no message uses.
UNMATCHED_DAYS = 7
#: Days for which the hourly counts of messages are kept: long enough to compare with the same week a year ago.
COUNT_DAYS = 400


async def prune_messaging(database: Database, now: int, event_days: int) -> int:
    """Delete messages and unreadable callbacks older than `event_days`, and receipts, buckets and counts past theirs.

    Return how many rows were deleted.
    """
    aged, unmatched = now - event_days * DAY, now - UNMATCHED_DAYS * DAY
    deleted = await _prune_messages(database, first_id(aged), aged)
    for select, delete, before in (
        ("quarantine.older", "quarantine.delete", first_id(aged)),
        ("unmatched.older", "unmatched.delete", first_id(unmatched)),
        ("buckets.unused", "buckets.delete", unmatched),
    ):
        deleted += await delete_in_steps(database, delete_selected, select, delete, before=before)
    return deleted + await delete_in_steps(database, _prune_counts, (now - COUNT_DAYS * DAY) // SECOND)


async def prune_recent_sends(database: Database, now: int) -> int:
    """Delete what no frequency cap counts any more; return how many people it was about."""
    return await delete_in_steps(database, _prune_sends, now)


async def _prune_sends(tx: Tx, before: int) -> int:
    rows = await tx.rows("recent_sends.expired", before=before, n=STEP)
    deleted = 0
    for workspace_id, people in _by_workspace(rows).items():
        deleted += await tx.run("recent_sends.delete", workspace_id=workspace_id, people=people, before=before)
    return deleted


def _by_workspace(rows: list[Row]) -> dict[int, list[str]]:
    people: dict[int, list[str]] = {}
    for workspace_id, person in rows:
        people.setdefault(workspace_id, []).append(person)
    return people


async def _prune_messages(database: Database, accepted_before: int, settled_before: int) -> int:
    """Delete messages in a final status that have not changed since `settled_before`.

    Messages that are not sent yet may be much older. They are skipped outside the writer's transaction.
    """
    deleted = after = 0
    while page := await database.read(_page, after, accepted_before, settled_before):
        after = page[-1][0]
        settled = [id_ for id_, is_settled in page if is_settled]
        for start in range(0, len(settled), STEP):
            deleted += await database.transact(_delete_messages, settled[start : start + STEP], settled_before)
    return deleted


async def _page(tx: Tx, after: int, accepted_before: int, settled_before: int) -> list[tuple[int, bool]]:
    rows = await tx.rows("messages.aged", after=after, before=accepted_before, settled_before=settled_before, n=PAGE)
    return [(row[0], bool(row[1])) for row in rows]


async def _delete_messages(tx: Tx, ids: list[int], settled_before: int) -> int:
    deleted = await tx.run("messages.delete", ids=ids, settled_before=settled_before)
    await tx.run("message_contents.delete", ids=ids)
    await tx.run("texts.delete", ids=ids)
    return deleted


async def _prune_counts(tx: Tx, before: int) -> int:
    rows = await tx.rows("message_counts.oldest", before=before, n=20)
    return sum([await tx.run("message_counts.delete", workspace_id=row[0], hour=row[1]) for row in rows])
