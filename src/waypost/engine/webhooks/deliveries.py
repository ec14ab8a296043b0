"""Retry and replay deliveries on behalf of an endpoint's owner."""

from typing import Any

import msgspec

from waypost.clock import Ids, first_id, id_time
from waypost.domain.webhooks.delivery import State
from waypost.engine.runtime.unit import Counters
from waypost.engine.webhooks.endpoints import WebhookRecord
from waypost.engine.webhooks.ledger_counts import count_requeued
from waypost.engine.webhooks.ordering import arrange
from waypost.errors import Conflict, NotFound
from waypost.storage.database import Tx

#: The states that a replay selects by default.
UNDELIVERED = ("dead", "missed")
EVERYTHING = ("dead", "missed", "delivered")
#: Replays of one endpoint that may run at the same time.
MOST_REPLAYS = 10

_encode = msgspec.json.Encoder().encode


class ReplayRange(msgspec.Struct, frozen=True):
    """The events that a replay selects: received from `since` on and before `until`."""

    since: int
    until: int
    states: tuple[str, ...]
    types: tuple[str, ...] = ()


async def missing_since(tx: Tx, webhook: WebhookRecord) -> int | None:
    """Return since when an endpoint misses events: its oldest dead delivery, or when it was disabled; else None."""
    row = await tx.row("deliveries.oldest_dead", endpoint_id=webhook.id)
    moments = [webhook.disabled_at] if webhook.disabled_at is not None else []
    if row is not None:
        moments.append(id_time(row[0]))
    return min(moments, default=None)


async def retry(tx: Tx, workspace_id: int, endpoint_id: int, event_id: int, node: int, now: int) -> None:
    """Retry a delivery now: make a pending one due, or queue one that has ended with its full number of tries."""
    records = await tx.records("deliveries.get", workspace_id=workspace_id, endpoint_id=endpoint_id, event_id=event_id)
    endpoint = await tx.records("endpoints.get", workspace_id=workspace_id, id=endpoint_id)
    if not records or not endpoint:
        raise NotFound("There is no such delivery in this workspace; it may have been deleted.")
    if endpoint[0]["status"] != "enabled":
        raise Conflict("The webhook endpoint is disabled; enable it first.", code="endpoint_disabled")
    if records[0]["type"] is None:
        raise Conflict("The event is past its retention and was deleted, so it cannot be sent.", code="event_deleted")
    row = await tx.row("deliveries.lock", endpoint_id=endpoint_id, event_id=event_id)
    state, subject = row or (None, None)
    if state == State.PENDING and subject is not None:
        # It may wait for another one, which must be sent first.
        await tx.run("deliveries.hasten_subject", endpoint_id=endpoint_id, subject=subject, now=now)
    elif state == State.PENDING:
        await tx.run("deliveries.hasten", endpoint_id=endpoint_id, event_id=event_id, now=now)
    elif await tx.run("deliveries.requeue", endpoint_id=endpoint_id, ids=[event_id], due_at=now):
        counters = Counters()
        count_requeued(counters, node, workspace_id, endpoint_id, was_dead=state == State.DEAD)
        await counters.write(tx)
        if subject is not None:
            await arrange(tx, endpoint_id, [subject], now)


async def start_replay(tx: Tx, ids: Ids, webhook: WebhookRecord, selection: ReplayRange, now: int) -> int:
    """Start a replay and return its id. A job advances it, also after a restart."""
    running = await tx.row("replays.count_running", endpoint_id=webhook.id)
    if running is not None and running[0] >= MOST_REPLAYS:
        raise Conflict(
            f"{MOST_REPLAYS} replays of this endpoint are running; wait for one or cancel it.", code="too_many_replays"
        )
    id_ = ids.one(now)
    await tx.run(
        "replays.add",
        id=id_,
        workspace_id=webhook.workspace_id,
        endpoint_id=webhook.id,
        since=selection.since,
        until=selection.until,
        states=_encode(selection.states).decode(),
        types=_encode(selection.types).decode(),
        cursor_id=first_id(selection.since) - 1,
        now=now,
    )
    return id_


async def find_replay(tx: Tx, workspace_id: int, id_: int) -> dict[str, Any]:
    """Return a replay; raise NotFound if the workspace has none with this id."""
    records = await tx.records("replays.get", workspace_id=workspace_id, id=id_)
    if not records:
        raise NotFound("There is no such replay in this workspace.")
    return records[0]


async def cancel_replay(tx: Tx, workspace_id: int, id_: int, now: int) -> dict[str, Any]:
    """Cancel a replay and return it; one that has ended stays unchanged."""
    await tx.run("replays.end", workspace_id=workspace_id, id=id_, endpoint_id=-1, now=now)
    return await find_replay(tx, workspace_id, id_)


def progress(replay: dict[str, Any]) -> float:
    """Return the progress of a replay from 0 to 1, measured by the time at which its events were received."""
    if replay["state"] == "done":
        return 1.0
    whole = replay["until"] - replay["since"]
    done = id_time(max(replay["cursor_id"], 0)) - replay["since"]
    return round(min(max(done / whole, 0.0), 1.0), 4) if whole > 0 else 0.0
