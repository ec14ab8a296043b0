"""Delete workspaces: at once nothing of them is accepted or sent any more, then what is stored is deleted in steps.

A part of the program that keeps rows of its own adds its statements to `storage/sql/workspaces/deletions.sql`, and
their names below. The audit log stays, and the row that keeps the number of the workspace from being used again.
"""

from functools import partial
from typing import Any

import msgspec
import structlog

from waypost.clock import now_us
from waypost.domain.accounts.workspace_deletion import PAUSE, DeletionStep, next_step
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.status import Transition
from waypost.domain.values.ids import public
from waypost.engine.accounts.workspaces import no_such_workspace
from waypost.engine.messaging.transitions import Transitions
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.scheduler import POLL_S
from waypost.engine.runtime.unit import Unit
from waypost.engine.webhooks.ledger_counts import count_deliveries
from waypost.storage.database import Database, Tx

log = structlog.get_logger()

#: Rows that one statement deletes, messages that one step ends, and rows that one step searches.
STEP = 500
SEARCHED = 5_000
#: Steps of one run of the job, so that other jobs get their turn.
STEPS = 50
#: The most that is counted of what a workspace contains.
COUNTED = 100_000

#: Statements that run in the transaction of the request.
AT_ONCE = (
    "workspace_deletions.close_endpoints",
    "workspace_deletions.close_connections",
    "workspace_deletions.close_campaigns",
    "workspace_deletions.close_imports",
    "workspace_deletions.close_replays",
)
#: The same, without a time.
DELETED_AT_ONCE = (
    "workspace_deletions.close_text_clients",
    "workspace_deletions.close_keys",
    "workspace_deletions.close_invitations",
    "single_sign_on.delete",
    "single_sign_on.delete_domains",
    "single_sign_on.delete_identities",
    "single_sign_on.end_sessions",
)
#: The areas whose configuration other processes have in memory.
AREAS = ("webhooks", "providers", "tracking", "sending_rules", "senders", "segments", "campaigns")


class Family(msgspec.Struct, frozen=True):
    """Rows that belong to a workspace, and rows that belong to those: first these are deleted."""

    #: The statement that returns the next ids of parents, and how many of them.
    find: str
    at_once: int
    #: Statements that delete rows of parents (`ids`, `n`).
    children: tuple[str, ...]
    #: The statement that deletes the parents (`ids`).
    delete: str


FAMILIES = (
    Family(
        "purge.find_messages",
        100,
        (
            "purge.message_contents",
            "purge.texts",
            "purge.click_counts",
            "purge.open_counts",
            "purge.click_bursts",
            "purge.text_link_checks",
        ),
        "purge.messages",
    ),
    Family(
        "purge.find_endpoints",
        1,
        (
            "purge.attempts",
            "purge.deliveries",
            "purge.replays",
            "purge.endpoint_counts",
        ),
        "purge.endpoints",
    ),
    Family(
        "purge.find_occurrences",
        1,
        (
            "purge.recipients",
            "purge.occurrence_parts",
            "purge.campaign_counts",
            "purge.campaign_clicks",
        ),
        "purge.occurrences",
    ),
    Family(
        "purge.find_lists",
        1,
        (
            "purge.list_members",
            "purge.list_confirmations",
            "purge.list_counts",
        ),
        "purge.lists",
    ),
    Family(
        "purge.find_segments",
        1,
        (
            "purge.segment_members",
            "purge.segment_rechecks",
            "purge.segment_versions",
        ),
        "purge.segments",
    ),
    Family("purge.find_trait_indexes", 1, ("purge.trait_values",), "purge.trait_indexes"),
    Family(
        "purge.find_metrics",
        1,
        (
            "purge.metric_events",
            "purge.metric_statuses",
        ),
        "purge.metrics",
    ),
    Family(
        "purge.find_imports",
        1,
        (
            "purge.import_chunks",
            "purge.import_errors",
        ),
        "purge.imports",
    ),
    Family("purge.find_templates", 1, ("purge.template_versions",), "purge.templates"),
    Family("purge.find_connections", 1, ("purge.bounce_mailboxes",), "purge.connections"),
)
#: Statements that delete rows of a workspace (`workspace_id`, `n`).
TABLES = (
    "purge.campaigns",
    "purge.events",
    "purge.event_types",
    "purge.metric_counts",
    "purge.profile_tags",
    "purge.tag_counts",
    "purge.identities",
    "purge.profiles",
    "purge.subscriptions",
    "purge.subscription_history",
    "purge.suppressions",
    "purge.recent_sends",
    "purge.message_counts",
    "purge.quarantine",
    "purge.payload_formats",
    "purge.connectors",
    "purge.notices",
    "purge.idempotency",
    "purge.sending_rules",
    "purge.senders",
    "purge.tracking_settings",
    "purge.text_clients",
    "purge.keys",
    "purge.account_tokens",
    "purge.memberships",
    "purge.configurations",
)
#: Tables without an index by workspace: the statement that says how far to search, and the one that deletes.
SEARCHES = (
    ("purge.bound_links", "purge.links"),
    ("purge.bound_tracked_urls", "purge.tracked_urls"),
    ("purge.bound_unmatched_receipts", "purge.unmatched_receipts"),
    ("purge.bound_buckets", "purge.buckets"),
    ("purge.bound_deletions", "purge.deletions"),
    ("purge.bound_click_counts", "purge.left_click_counts"),
    ("purge.bound_open_counts", "purge.left_open_counts"),
)


class WorkspaceDeletion(msgspec.Struct):
    """A deletion under way."""

    workspace_id: int
    step: DeletionStep
    place: int
    cursor_id: int
    again: bool
    deleted: int
    created_at: int


class Contents(msgspec.Struct, kw_only=True):
    """How much a workspace contains; each number is at most COUNTED, apart from the pending deliveries."""

    people: int
    events: int
    messages: int
    queued_messages: int
    pending_deliveries: int
    running_campaigns: int
    connections: int
    webhooks: int
    keys: int
    users: int


async def count_contents(tx: Tx, workspace_id: int) -> Contents:
    """Return how much a workspace contains."""
    found = await tx.records("workspace_deletions.count", workspace_id=workspace_id, n=COUNTED)
    return Contents(**found[0])


async def close_workspace(tx: Tx, workspace_id: int, now: int) -> None:
    """Delete a workspace: nothing of it is accepted or sent from now on; `advance_deletions` does the rest.

    Raise NotFound if it is deleted already.
    """
    if not await tx.run("workspace_deletions.close", workspace_id=workspace_id, now=now):
        raise no_such_workspace(workspace_id)
    for query in AT_ONCE:
        await tx.run(query, workspace_id=workspace_id, now=now)
    for query in DELETED_AT_ONCE:
        await tx.run(query, workspace_id=workspace_id)
    for area in AREAS:
        await tx.run("configurations.touch", area=area, workspace_id=workspace_id)
    await tx.run("workspace_deletions.add", workspace_id=workspace_id, now=now)


async def advance_workspaces(database: Database, recorder: Recorder) -> float:
    """Go on with the deletions that are due; return the seconds until the next run."""
    more = False
    for workspace_id in await database.read(_due, now_us()):
        for _ in range(STEPS):
            more = await recorder.perform(partial(_advance, workspace_id))
            if not more:
                break
    return 0.0 if more else POLL_S


async def _due(tx: Tx, now: int) -> list[int]:
    return [row[0] for row in await tx.rows("workspace_deletions.due", now=now)]


async def _advance(workspace_id: int, tx: Tx, unit: Unit) -> bool:
    """Do one step in one transaction; return whether the next one is due at once."""
    row = await tx.row("workspace_deletions.load", workspace_id=workspace_id, now=unit.now)
    if row is None:
        return False
    deletion = WorkspaceDeletion(row[0], DeletionStep(row[1]), row[2], row[3], bool(row[4]), row[5], row[6])
    due_at: int | None = unit.now
    if not await _STEPS[deletion.step](tx, unit, deletion):
        if deletion.again and await _is_sending(tx, deletion):
            # Its result is recorded first; a message of a process that died is settled meanwhile.
            due_at = unit.now + PAUSE
        else:
            deletion.step, deletion.again, earliest = next_step(
                deletion.step, deletion.created_at, again=deletion.again
            )
            deletion.place = deletion.cursor_id = 0
            due_at = max(unit.now, earliest)
    if deletion.step is DeletionStep.DONE:
        due_at = None
    await tx.run(
        "workspace_deletions.advance",
        workspace_id=workspace_id,
        stage=deletion.step.value,
        place=deletion.place,
        cursor_id=deletion.cursor_id,
        again=int(deletion.again),
        deleted=deletion.deleted,
        due_at=due_at,
        ended_at=unit.now if due_at is None else None,
    )
    if due_at is None:
        log.info(
            "a deleted workspace is gone",
            action="workspace_purged",
            id=public("ws", workspace_id),
            rows=deletion.deleted,
        )
    return due_at is not None and due_at <= unit.now


async def _is_sending(tx: Tx, deletion: WorkspaceDeletion) -> bool:
    if deletion.step is not DeletionStep.DELIVERIES:
        return False
    return await tx.row("workspace_deletions.sending", workspace_id=deletion.workspace_id) is not None


async def _end_messages(tx: Tx, unit: Unit, deletion: WorkspaceDeletion) -> bool:
    """Skip some messages that are not sent yet; return whether there may be more."""
    rows = await tx.rows(
        "workspace_deletions.messages", workspace_id=deletion.workspace_id, after=deletion.cursor_id, n=SEARCHED
    )
    unsent = [row[0] for row in rows if row[1]][:STEP]
    transitions = Transitions(unit)
    await transitions.load(tx, unsent)
    for state in transitions.states.values():
        if state.status in (Status.QUEUED, Status.HELD):
            transitions.apply(state, Transition(status=Status.SKIPPED, at=unit.now, reason="workspace_deleted"))
    await transitions.write(tx)
    if len(unsent) == STEP:
        deletion.cursor_id = unsent[-1]
        return True
    if rows:
        deletion.cursor_id = rows[-1][0]
    return len(rows) == SEARCHED


async def _end_deliveries(tx: Tx, unit: Unit, deletion: WorkspaceDeletion) -> bool:
    """Give up some pending deliveries; return whether there may be more."""
    row = await tx.row("workspace_deletions.pending", workspace_id=deletion.workspace_id)
    if row is None:
        return False
    count = await tx.run("deliveries.give_up", endpoint_id=row[0], reason="workspace_deleted", now=unit.now, n=STEP)
    count_deliveries(unit.counters, unit.node, deletion.workspace_id, row[0], pending=-count, dead=count)
    return True


async def _delete_rows(tx: Tx, unit: Unit, deletion: WorkspaceDeletion) -> bool:
    """Delete some rows of the table at this place; return whether there is another place, or more rows at it."""
    place, workspace_id = deletion.place, deletion.workspace_id
    if place < len(FAMILIES):
        deleted = await _delete_family(tx, FAMILIES[place], workspace_id)
    else:
        deleted = await tx.run(TABLES[place - len(FAMILIES)], workspace_id=workspace_id, n=STEP)
    deletion.deleted += deleted
    if not deleted:
        deletion.place += 1
    return deletion.place < len(FAMILIES) + len(TABLES)


async def _delete_family(tx: Tx, family: Family, workspace_id: int) -> int:
    ids = [row[0] for row in await tx.rows(family.find, workspace_id=workspace_id, n=family.at_once)]
    if not ids:
        return 0
    total = 0
    for query in family.children:
        deleted = await tx.run(query, ids=ids, n=STEP)
        total += deleted
        if deleted >= STEP:
            return total
    return total + await tx.run(family.delete, ids=ids)


async def _search_rows(tx: Tx, unit: Unit, deletion: WorkspaceDeletion) -> bool:
    """Search some rows of the table at this place; return whether there is another place, or more rows at it."""
    bound_query, delete = SEARCHES[deletion.place]
    row: Any = await tx.row(bound_query, after=deletion.cursor_id, n=SEARCHED)
    bound, count = row
    if bound is not None:
        deletion.deleted += await tx.run(
            delete, workspace_id=deletion.workspace_id, after=deletion.cursor_id, bound=bound
        )
        deletion.cursor_id = bound
    if count < SEARCHED:
        deletion.place, deletion.cursor_id = deletion.place + 1, 0
    return deletion.place < len(SEARCHES)


_STEPS = {
    DeletionStep.MESSAGES: _end_messages,
    DeletionStep.DELIVERIES: _end_deliveries,
    DeletionStep.ROWS: _delete_rows,
    DeletionStep.SEARCHES: _search_rows,
}
