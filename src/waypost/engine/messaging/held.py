"""Queue messages again that sending rules held, when they are due: the next claim asks the rules once more."""

from waypost.clock import CLOCKS_DIFFER, SECOND, now_us
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.sending_rules import FREQUENCY_CAP, QUIET_HOURS
from waypost.domain.messaging.status import Transition
from waypost.engine.messaging.transitions import Transitions
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.scheduler import POLL_S, Alarm
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Database, Tx

#: Messages that one transaction queues.
STEP = 1000


async def release_held(database: Database, recorder: Recorder, alarm: Alarm) -> float:
    """Queue some of the messages that are held and due; return the seconds until the next run."""
    alarm.clear()
    due_at = await database.read(_next_due)
    if due_at is None:
        return POLL_S
    if due_at > now_us():
        return min((due_at - now_us()) / SECOND, POLL_S)
    # If another process has them, there is nothing to do for now.
    return 0.0 if await recorder.perform(queue_held) else POLL_S


async def queue_held(tx: Tx, unit: Unit) -> int:
    """Queue up to `STEP` messages that are held and due; return how many."""
    ids = [row[0] for row in await tx.rows("messages.held_due", now=unit.now, n=STEP)]
    transitions = Transitions(unit)
    await transitions.load(tx, ids)
    for id_ in ids:
        state = transitions.states.get(id_)
        # It may have been cancelled since the query.
        if state is not None and state.status is Status.HELD and state.reason in (QUIET_HOURS, FREQUENCY_CAP):
            transitions.apply(state, Transition(status=Status.QUEUED, at=unit.now, due_at=unit.now))
    await transitions.write(tx)
    return len(ids)


async def bring_back_held(tx: Tx, now: int) -> int:
    """Make up to `STEP` messages due that a clock which was ahead held; return how many."""
    return await tx.run("messages.held_ahead", now=now, written_after=now + CLOCKS_DIFFER, n=STEP)


async def _next_due(tx: Tx) -> int | None:
    row = await tx.row("messages.held_next")
    return row[0] if row else None
