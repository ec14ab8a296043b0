"""Claim due deliveries from the database: retries, those that did not fit in memory, and those of evicted nodes."""

import msgspec

from waypost.clock import SECOND, Ids, now_us
from waypost.domain.webhooks.delivery import JITTER, LONGEST_STRETCH, State
from waypost.domain.webhooks.endpoint import Endpoint, event_object, webhook_body
from waypost.engine.runtime.scheduler import POLL_S, Alarm
from waypost.engine.runtime.unit import Counters
from waypost.engine.webhooks.dispatcher import Dispatcher
from waypost.engine.webhooks.endpoint_snapshot import EndpointRegistry
from waypost.engine.webhooks.lane import Task
from waypost.engine.webhooks.ledger_counts import count_deliveries
from waypost.engine.webhooks.ordering import release_followers
from waypost.storage.database import Database, Row, Tx

_encode = msgspec.json.Encoder().encode


#: Endpoints for which one transaction claims deliveries. Each takes the writer about 0.2 ms, and events wait for that.
LANES = 25
#: Seconds until the next claim for a full lane, and for the lane of a failing endpoint.
FULL_S, TROUBLED_S = 0.05, 0.5


async def claim_due(
    database: Database, dispatcher: Dispatcher, endpoints: EndpointRegistry, ids: Ids, alarm: Alarm
) -> float:
    """Claim due deliveries for every endpoint whose lane has room, and pass them to the dispatcher.

    Return the seconds until the next claim.
    """
    alarm.clear()
    now = now_us()
    wait = POLL_S
    selected: list[tuple[Endpoint, int]] = []
    mark = dispatcher.spill_mark()
    for endpoint_id, workspace_id, due_at in await database.read(_due_endpoints):
        if due_at is None or due_at > now:
            dispatcher.clear_spilled(endpoint_id, mark)
            if due_at is not None:
                alarm.wake_at(due_at)
            continue
        room = dispatcher.claim_room(endpoint_id)
        if room == 0:
            wait = min(wait, TROUBLED_S if dispatcher.in_trouble(endpoint_id) else FULL_S)
        elif (endpoint := await endpoints.find(workspace_id, endpoint_id)) is not None:
            selected.append((endpoint, room))
    # Endpoints that answer come first; failing ones can wait for the next transaction.
    selected.sort(key=lambda one: dispatcher.in_trouble(one[0].id))
    for start in range(0, len(selected), LANES):
        some = selected[start : start + LANES]
        mark = dispatcher.spill_mark()
        found = await database.transact(_claim, some, ids.node, now)
        for endpoint, room in some:
            tasks = found.get(endpoint.id)
            if tasks is None:
                # The endpoint has just changed.
                await endpoints.refresh([endpoint.workspace_id])
                wait = min(wait, 0.01)
                continue
            dispatcher.offer(tasks)
            if len(tasks) >= room:
                dispatcher.note_spilled(endpoint.id)
            else:
                dispatcher.clear_spilled(endpoint.id, mark)
            if len(tasks) >= room:
                wait = min(wait, TROUBLED_S if dispatcher.in_trouble(endpoint.id) else 0.01)
    return wait


async def bring_back(tx: Tx, retry_base: float, now: int) -> int:
    """Make retries due that a wrong clock scheduled later than their longest delay; return how many."""
    base = int(retry_base * SECOND * (1 + JITTER)) + 1
    return await tx.run("deliveries.bring_back", now=now, base=base, slack=LONGEST_STRETCH)


async def release_held(tx: Tx, nodes: list[int] | None) -> None:
    """Release the deliveries that these nodes held; None stands for every node."""
    if nodes is None:
        await tx.run("deliveries.release_others")
    else:
        await tx.run("deliveries.release_all", nodes=nodes)


async def _due_endpoints(tx: Tx) -> list[Row]:
    return await tx.rows("endpoints.due")


async def _claim(tx: Tx, selected: list[tuple[Endpoint, int]], node: int, now: int) -> dict[int, list[Task]]:
    """Claim due deliveries and return them as tasks by endpoint; leave out endpoints that changed or are disabled."""
    versions = {
        record["id"]: record["version"]
        for record in await tx.records("endpoints.by_ids", ids=[endpoint.id for endpoint, _ in selected])
        if record["status"] == "enabled"
    }
    claimed: dict[int, dict[int, tuple[int, int]]] = {}
    known: dict[int, Endpoint] = {}
    for endpoint, room in selected:
        if versions.get(endpoint.id) != endpoint.version:
            continue
        known[endpoint.id] = endpoint
        limits = {"endpoint_id": endpoint.id, "node": node, "now": now}
        # Half of the room is for retries; the rest is for the deliveries that are due longest.
        rows = await tx.rows("deliveries.claim_retries", n=max(room // 2, 1), **limits)
        if len(rows) < room:
            rows += await tx.rows("deliveries.claim", n=room - len(rows), **limits)
        claimed[endpoint.id] = {event_id: (tries, attempts) for event_id, tries, attempts in rows}
    events = {
        row[0]: row[1:]
        for row in await tx.rows("events.by_ids", ids=sorted({id_ for of in claimed.values() for id_ in of}))
    }
    counters = Counters()
    found: dict[int, list[Task]] = {}
    dead: list[tuple[int, int, str, None, str]] = []
    for endpoint_id, deliveries in claimed.items():
        endpoint, tasks = known[endpoint_id], found.setdefault(endpoint_id, [])
        for event_id, (tries, attempts) in sorted(deliveries.items()):
            event = events.get(event_id)
            if event is None:
                # Retention deleted the event, so there is nothing to send.
                dead.append((endpoint_id, event_id, State.DEAD, None, "event_deleted"))
                count_deliveries(counters, node, endpoint.workspace_id, endpoint_id, pending=-1, dead=1)
                continue
            message_id, type_, profile_id, occurred_at, data = event
            body = webhook_body(type_, occurred_at, event_object(event_id, message_id, profile_id, data.encode()))
            tasks.append(Task(endpoint, event_id, body, tries, attempts))
    if dead:
        await tx.run("deliveries.settle", rows=_encode(dead).decode(), node=node, now=now)
        await release_followers(tx, [row[:2] for row in dead if known[row[0]].ordered], now)
        await counters.write(tx)
    return found
