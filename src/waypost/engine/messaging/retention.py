"""Delete messages, receipts and counts past their retention."""

from waypost.clock import DAY, SECOND, first_id
from waypost.engine.accounts.retention import Retention
from waypost.engine.runtime.retention import STEP, delete_in_steps, delete_selected
from waypost.storage.database import Database, Row, Tx

#: Messages past the retention that one query reads.
PAGE = 4 * STEP
#: Days for which a receipt without a message is kept, and a rate limit bucket that no message uses.
UNMATCHED_DAYS = 7
#: Days for which the hourly counts of messages are kept: long enough to compare with the same week a year ago.
COUNT_DAYS = 400
#: The queries that find what is old, of all workspaces and of one: messages and unreadable callbacks.
_ALL = ("messages.aged", "quarantine.older")
_OF_WORKSPACE = ("messages.aged_of_workspace", "quarantine.older_of_workspace")


async def prune_messaging(database: Database, now: int, retention: Retention) -> int:
    """Delete messages and unreadable callbacks as old as events, and receipts, buckets and counts past their retention.

    Return how many rows were deleted.
    """
    unmatched = now - UNMATCHED_DAYS * DAY
    deleted = await _prune(database, now - retention.event_days * DAY, _ALL)
    for workspace_id, event_days in retention.events.items():
        deleted += await _prune(database, now - event_days * DAY, _OF_WORKSPACE, workspace_id=workspace_id)
    for select, delete, before in (
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


async def _prune(database: Database, aged: int, queries: tuple[str, str], **where: int) -> int:
    """Delete messages and unreadable callbacks from before `aged` that these queries find; return how many rows."""
    messages, callbacks = queries
    before = first_id(aged)
    deleted = await _prune_messages(database, messages, aged, before=before, **where)
    return deleted + await delete_in_steps(
        database, delete_selected, callbacks, "quarantine.delete", before=before, **where
    )


async def _prune_messages(database: Database, select: str, settled_before: int, **where: int) -> int:
    """Delete messages in a final status that have not changed since `settled_before`.

    Messages that are not sent yet may be much older. They are skipped outside the writer's transaction.
    """
    deleted = after = 0
    while page := await database.read(_page, select, after=after, settled_before=settled_before, **where):
        after = page[-1][0]
        settled = [id_ for id_, is_settled in page if is_settled]
        for start in range(0, len(settled), STEP):
            deleted += await database.transact(_delete_messages, settled[start : start + STEP], settled_before)
    return deleted


async def _page(tx: Tx, /, select: str, **values: int) -> list[tuple[int, bool]]:
    rows = await tx.rows(select, n=PAGE, **values)
    return [(row[0], bool(row[1])) for row in rows]


async def _delete_messages(tx: Tx, ids: list[int], settled_before: int) -> int:
    deleted = await tx.run("messages.delete", ids=ids, settled_before=settled_before)
    await tx.run("message_contents.delete", ids=ids)
    await tx.run("texts.delete", ids=ids)
    return deleted


async def _prune_counts(tx: Tx, before: int) -> int:
    rows = await tx.rows("message_counts.oldest", before=before, n=20)
    return sum([await tx.run("message_counts.delete", workspace_id=row[0], hour=row[1]) for row in rows])
