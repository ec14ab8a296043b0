"""Resend and cancel messages for a user."""

from waypost.clock import DAY
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.status import MessageState, Transition
from waypost.engine.messaging.transitions import Transitions
from waypost.engine.runtime.unit import Unit
from waypost.errors import Conflict, NotFound
from waypost.storage.database import Tx


async def take_by_hand(tx: Tx, workspace_id: int, id_: int, change: Transition, unit: Unit) -> MessageState:
    """Resend or cancel a message for a user; return its new state. Raise Conflict if its status does not allow it."""
    transitions = Transitions(unit)
    await transitions.load(tx, [id_])
    state = transitions.states.get(id_)
    if state is None or state.workspace_id != workspace_id:
        raise NotFound("There is no such message in this workspace; it may be past its retention.")
    before = state.status
    if change.status is Status.QUEUED:
        # A resent message is valid for at least another day.
        state.expires_at = max(state.expires_at, change.at + DAY)
    if not transitions.apply(state, change):
        if change.status is Status.QUEUED:
            raise Conflict(
                f"This message is {before.value}; only one that failed or is unknown can be repeated.",
                code="message_not_repeatable",
            )
        raise Conflict(
            f"This message is {before.value}; only one that is queued or held can be cancelled.",
            code="message_not_cancellable",
        )
    await transitions.write(tx)
    if change.status is Status.QUEUED:
        await tx.run("messages.extend", id=id_, expires_at=state.expires_at)
    return state


def repeat(now: int) -> Transition:
    """Return the transition by which a user resends a message, although it may have been sent."""
    return Transition(status=Status.QUEUED, at=now, due_at=now, reason="by_hand", by_hand=True)


def cancel(now: int) -> Transition:
    """Return the transition by which a user cancels a message."""
    return Transition(status=Status.SKIPPED, at=now, reason="cancelled")
