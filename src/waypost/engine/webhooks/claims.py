"""Deliveries taken from the database: retries, what did not fit in memory, and what dead nodes left."""

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
from waypost.storage.database import Database, Row, Tx

_encode = msgspec.json.Encoder().encode


#: Endpoints that one transaction claims for.
LANES = 100
#: Seconds until a lane that is full, and one in trouble, is asked again.
FULL_S, TROUBLED_S = 0.05, 0.5


async def claim_due(
    database: Database, dispatcher: Dispatcher, endpoints: EndpointRegistry, ids: Ids, alarm: Alarm
) -> float:
    """Hold what is due for every endpoint whose lane has room, and hand it to the dispatcher.

    Gives back the seconds until it wants to look again.
    """
    alarm.clear()
    now = now_us()
    wait = POLL_S
    wanted: list[tuple[Endpoint, int]] = []
    for endpoint_id, workspace_id, due_at in await database.read(_due_endpoints):
        if due_at is None or due_at > now:
            dispatcher.note_spilled(endpoint_id, False)
            if due_at is not None:
                alarm.wake_at(due_at)
            continue
        room = dispatcher.claim_room(endpoint_id)
        if room == 0:
            wait = min(wait, TROUBLED_S if dispatcher.in_trouble(endpoint_id) else FULL_S)
        elif (endpoint := await endpoints.find(workspace_id, endpoint_id)) is not None:
            wanted.append((endpoint, room))
    # Endpoints that answer come first: whoever fails can wait for the next transaction.
    wanted.sort(key=lambda one: dispatcher.in_trouble(one[0].id))
    for start in range(0, len(wanted), LANES):
        some = wanted[start : start + LANES]
        found = await database.transact(_claim, some, ids.node, now)
        for endpoint, room in some:
            tasks = found.get(endpoint.id)
            if tasks is None:
                # It was changed a moment ago.
                await endpoints.refresh([endpoint.workspace_id])
                wait = min(wait, 0.01)
                continue
            dispatcher.offer(tasks)
            dispatcher.note_spilled(endpoint.id, len(tasks) >= room)
            if len(tasks) >= room:
                wait = min(wait, TROUBLED_S if dispatcher.in_trouble(endpoint.id) else 0.01)
    return wait


async def bring_back(tx: Tx, retry_base: float, now: int) -> int:
    """Make due what a wrong clock put off: no retry is further ahead than its delay; gives back how many."""
    base = int(retry_base * SECOND * (1 + JITTER)) + 1
    return await tx.run("deliveries.bring_back", now=now, base=base, slack=LONGEST_STRETCH)


async def release_held(tx: Tx, nodes: list[int] | None) -> None:
    """Free the deliveries that these nodes held; None stands for every node."""
    if nodes is None:
        await tx.run("deliveries.release_others")
    else:
        await tx.run("deliveries.release_all", nodes=nodes)


async def _due_endpoints(tx: Tx) -> list[Row]:
    return await tx.rows("endpoints.due")


async def _claim(tx: Tx, wanted: list[tuple[Endpoint, int]], node: int, now: int) -> dict[int, list[Task]]:
    """Hold what is due, as tasks by endpoint; an endpoint that is no longer what it is known as is left out."""
    versions = {
        record["id"]: record["version"]
        for record in await tx.records("endpoints.by_ids", ids=[endpoint.id for endpoint, _ in wanted])
        if record["status"] == "enabled"
    }
    claimed: dict[int, dict[int, tuple[int, int]]] = {}
    known: dict[int, Endpoint] = {}
    for endpoint, room in wanted:
        if versions.get(endpoint.id) != endpoint.version:
            continue
        known[endpoint.id] = endpoint
        limits = {"endpoint_id": endpoint.id, "node": node, "now": now}
        # Retries get half of the room, and what is left of it is for whatever is due longest.
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
                # It was deleted for its age, so there is nothing to send any more.
                dead.append((endpoint_id, event_id, State.DEAD, None, "event_deleted"))
                count_deliveries(counters, node, endpoint.workspace_id, endpoint_id, pending=-1, dead=1)
                continue
            message_id, type_, profile_id, occurred_at, data = event
            body = webhook_body(type_, occurred_at, event_object(event_id, message_id, profile_id, data.encode()))
            tasks.append(Task(endpoint, event_id, body, tries, attempts))
    if dead:
        await tx.run("deliveries.settle", rows=_encode(dead).decode(), node=node, now=now)
        await counters.write(tx)
    return found
