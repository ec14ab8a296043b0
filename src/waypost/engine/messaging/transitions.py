"""Change the states of messages in one transaction: load once, change in memory, write in bulk with the events."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from waypost.clock import HOUR, SECOND
from waypost.domain.events.event import Event
from waypost.domain.messaging.message_events import status_changed
from waypost.domain.messaging.status import HistoryEntry, MessageState, Transition, transition
from waypost.engine.runtime.unit import COUNT_ROWS, Unit
from waypost.storage.database import Row, Tx, columns

_encode = msgspec.json.Encoder().encode
_states = msgspec.json.Decoder(list[MessageState])
_pairs = msgspec.json.Decoder(list[tuple[int, int]])


class MessagingNotes(msgspec.Struct):
    """What a unit of work passes to the sender after the commit."""

    #: By connection: when the first of its waiting messages is due.
    due: dict[int, int] = {}
    #: Connections that were paused, with their workspaces.
    paused: dict[int, int] = {}
    #: Results of sends that were recorded.
    results: list[Any] = []


class Transitions:
    """The messages that a unit of work changes, with their events and counts."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.node = unit.node
        self.now = unit.now
        self.standings: dict[int, MessageState] = {}
        self.events: list[Event] = []
        self._due = unit.notes(MessagingNotes).due
        self._notes: dict[int, list[HistoryEntry]] = {}
        self._dirty: set[int] = set()

    async def load(self, tx: Tx, ids: Iterable[int]) -> None:
        """Load the states of messages and lock them for this transaction."""
        missing = sorted(set(ids) - self.standings.keys())
        if missing:
            row = await tx.row("messages.load", ids=missing)
            for state in _states.decode(row[0] if row else "[]"):
                self.standings[state.id] = state

    async def find(self, tx: Tx, keys: Sequence[int]) -> dict[int, list[int]]:
        """Return the messages by the key of the provider's id; two providers of a workspace may use the same id."""
        row = await tx.row("messages.by_provider", keys=list(keys)) if keys else None
        found: dict[int, list[int]] = {}
        for key, id_ in sorted(_pairs.decode(row[0])) if row else ():
            found.setdefault(key, []).append(id_)
        return found

    def apply(self, state: MessageState, change: Transition) -> bool:
        """Apply a transition to a message; return whether its status changed."""
        changed, note = transition(state, change)
        self._dirty.add(state.id)
        if note is not None:
            self._notes.setdefault(state.id, []).append(note)
        if changed and note is not None:
            self.events.append(status_changed(state, note))
            self.count(state)
        self._note_due(state)
        return changed

    def announce(self, state: MessageState, note: HistoryEntry) -> None:
        """Emit the event of a new message, and count it."""
        self.events.append(status_changed(state, note))
        self.count(state)
        self._note_due(state)

    def _note_due(self, state: MessageState) -> None:
        due_at = state.due_at
        if due_at is not None and due_at < self._due.get(state.connection_id, due_at + 1):
            self._due[state.connection_id] = due_at

    def count(self, state: MessageState) -> None:
        """Count the new status of a message, unless it is a test message."""
        if state.test:
            return
        key = (
            state.workspace_id,
            self.now // HOUR * HOUR // SECOND,
            state.connection_id,
            state.campaign,
            state.template_id,
            state.status.value,
            state.code or 0,
            self.node % COUNT_ROWS,
        )
        self.unit.counters.add("message_counts.add", key, 1)

    async def write(self, tx: Tx) -> None:
        """Write the new states of the messages, and emit their events."""
        rows: list[Row] = []
        #: history and updated_at are appended.
        read = columns("messages.write", appended=2)
        for id_ in sorted(self._dirty):
            entries = self._notes.get(id_)
            history = "," + _encode(entries)[1:-1].decode() if entries else ""
            rows.append((*read(self.standings[id_]), history, self.now))
        await tx.insert("messages.write", rows)
        self.unit.emit(self.events)
        self.events = []
