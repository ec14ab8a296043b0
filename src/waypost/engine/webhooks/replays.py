"""Advance replays: queue events again, a page at a time."""

from typing import Any

import msgspec

from waypost.clock import first_id
from waypost.domain.webhooks.delivery import State
from waypost.domain.webhooks.endpoint import event_object, subject_of, webhook_body
from waypost.domain.webhooks.event_patterns import pattern_match
from waypost.domain.webhooks.filter import compile_filter
from waypost.engine.runtime.unit import Counters
from waypost.engine.webhooks.ledger_counts import count_deliveries, count_requeued
from waypost.engine.webhooks.ordering import arrange
from waypost.storage.database import Tx

#: Events read in one transaction.
STEP = 500
#: A replay pauses while this many deliveries of the endpoint are pending, so that it does not delay new ones.
BACKLOG = 2000
#: What a replay may select. `missed` events have no delivery: the endpoint was disabled or did not exist.
STATES = ("dead", "missed", "delivered")

_strings = msgspec.json.Decoder(tuple[str, ...])
_filter = msgspec.json.Decoder(dict[str, Any])


async def advance_replays(tx: Tx, node: int, now: int) -> bool:
    """Advance every running replay by one page; return whether one queued something or has more to read."""
    busy = False
    for replay in await tx.records("replays.running", n=20):
        row = await tx.row("deliveries.count_dead", endpoint_id=replay["endpoint_id"])
        if row is not None and row[1] >= BACKLOG:
            continue
        if await tx.row("replays.lock", id=replay["id"], cursor_id=replay["cursor_id"]) is None:
            continue
        busy |= await _advance(tx, replay, node, now)
    return busy


async def _advance(tx: Tx, replay: dict[str, Any], node: int, now: int) -> bool:
    endpoint_id = replay["endpoint_id"]
    states = _strings.decode(replay["states"])
    stretch = {"after": replay["cursor_id"], "until": first_id(replay["until"]), "n": STEP}
    if states == ("dead",):
        rows = await tx.rows("deliveries.dead_after", endpoint_id=endpoint_id, **stretch)
    else:
        rows = await tx.rows("events.after", workspace_id=replay["workspace_id"], **stretch)
    selected = [row[0] for row in rows if _wants(replay, row)]
    known: dict[int, str] = {}
    if selected:
        known = dict(await tx.rows("deliveries.states", endpoint_id=endpoint_id, ids=selected))
    again = [id_ for id_ in selected if id_ in known and known[id_] in states]
    missed = [id_ for id_ in selected if id_ not in known] if "missed" in states else []
    counters = Counters()
    for id_ in again:
        count_requeued(counters, node, replay["workspace_id"], endpoint_id, was_dead=known[id_] == State.DEAD)
    if missed:
        count_deliveries(counters, node, replay["workspace_id"], endpoint_id, accepted=len(missed), pending=len(missed))
    if again:
        await tx.run("deliveries.requeue", endpoint_id=endpoint_id, ids=again, due_at=now)
    if replay["ordered"]:
        subjects = {row[0]: subject_of(replay["workspace_id"], row[1]) for row in rows}
        await tx.insert(
            "deliveries.insert_ordered",
            [(endpoint_id, id_, "pending", 0, 0, now, None, None, None, subjects[id_], None) for id_ in missed],
        )
        await arrange(tx, endpoint_id, {subjects[id_] for id_ in (*again, *missed)}, now)
    else:
        new = [(endpoint_id, id_, "pending", 0, 0, now, None, None, None) for id_ in missed]
        await tx.insert("deliveries.insert", new)
    await counters.write(tx)
    done = len(rows) < STEP
    await tx.run(
        "replays.advance",
        id=replay["id"],
        cursor_id=rows[-1][0] if rows else replay["cursor_id"],
        seen=len(rows),
        queued=len(again) + len(missed),
        state="done" if done else "running",
        now=now,
    )
    return not done or bool(again or missed)


def _wants(replay: dict[str, Any], row: tuple[Any, ...]) -> bool:
    """Whether a replay selects an event: the endpoint subscribes to it, and the replay names its type."""
    id_, message_id, type_, profile_id, occurred_at, data = row
    types = _strings.decode(replay["types"])
    if not pattern_match(_strings.decode(replay["patterns"]))(type_) or (types and not pattern_match(types)(type_)):
        return False
    if not replay["filter"]:
        return True
    body = webhook_body(type_, occurred_at, event_object(id_, message_id, profile_id, data.encode()))
    return compile_filter(_filter.decode(replay["filter"]))(_filter.decode(body))
