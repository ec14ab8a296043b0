"""What happens to messages within one transaction: loaded once, moved in memory, written in bulk with what follows."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from waypost.clock import HOUR, SECOND
from waypost.domain.events.event import Event
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.message_events import status_changed
from waypost.domain.messaging.status import HistoryEntry, MessageState, Transition, transition
from waypost.domain.texts.status import TextStatus, reported_statuses
from waypost.engine.runtime.unit import COUNT_ROWS, Unit
from waypost.storage.database import Tx

_encode = msgspec.json.Encoder().encode
_standings = msgspec.json.Decoder(list[MessageState])
_pairs = msgspec.json.Decoder(list[tuple[int, int]])


class TextMoved(msgspec.Struct):
    """A message of a client of the text-message API that has come to another status."""

    message_id: int
    workspace_id: int
    profile_id: int | None
    address: str
    #: When it came to the status, and why.
    entry: HistoryEntry
    #: What the client is told, in order.
    statuses: list[TextStatus]


class MessagingNotes(msgspec.Struct):
    """What a unit of work leaves for the sender, and for areas that follow messages."""

    #: When the first of what waits for each connection falls due.
    due: dict[int, int] = {}
    #: Connections that were paused, with their workspaces.
    paused: dict[int, int] = {}
    #: Results of sends that were recorded.
    results: list[Any] = []
    #: Texts whose status changed, in order.
    texts: list[TextMoved] = []


class Transitions:
    """The messages that one unit of work touches, and everything that follows from how they move."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.node = unit.node
        self.now = unit.now
        self.standings: dict[int, MessageState] = {}
        self.events: list[Event] = []
        notes = unit.notes(MessagingNotes)
        self._due, self._texts = notes.due, notes.texts
        self._notes: dict[int, list[HistoryEntry]] = {}
        self._dirty: set[int] = set()

    async def load(self, tx: Tx, ids: Iterable[int]) -> None:
        """Bring in the standings of messages, for this transaction alone."""
        wanted = sorted(set(ids) - self.standings.keys())
        if wanted:
            row = await tx.row("messages.load", ids=wanted)
            for standing in _standings.decode(row[0] if row else "[]"):
                self.standings[standing.id] = standing

    async def find(self, tx: Tx, keys: Sequence[int]) -> dict[int, list[int]]:
        """The messages behind the keys of providers' ids; two providers of a workspace may use the same id."""
        row = await tx.row("messages.by_provider", keys=list(keys)) if keys else None
        found: dict[int, list[int]] = {}
        for key, id_ in sorted(_pairs.decode(row[0])) if row else ():
            found.setdefault(key, []).append(id_)
        return found

    def apply(self, standing: MessageState, change: Transition) -> bool:
        """Let a message know news of it; whether its status changed."""
        before = standing.status
        changed, note = transition(standing, change)
        self._dirty.add(standing.id)
        if note is not None:
            self._notes.setdefault(standing.id, []).append(note)
        if changed and note is not None:
            self.events.append(status_changed(standing, note))
            self.count(standing)
            if standing.text_client_id is not None:
                self._note_text(standing, before, note)
        self._note_due(standing)
        return changed

    def announce(self, standing: MessageState, note: HistoryEntry) -> None:
        """A message that is new stands as it stands."""
        self.events.append(status_changed(standing, note))
        self.count(standing)
        if standing.text_client_id is not None:
            self._note_text(standing, None, note)
        self._note_due(standing)

    def _note_text(self, standing: MessageState, before: Status | None, note: HistoryEntry) -> None:
        statuses = reported_statuses(before, standing)
        if statuses:
            self._texts.append(
                TextMoved(standing.id, standing.workspace_id, standing.profile_id, standing.address, note, statuses)
            )

    def _note_due(self, standing: MessageState) -> None:
        due_at = standing.due_at
        if due_at is not None and due_at < self._due.get(standing.connection_id, due_at + 1):
            self._due[standing.connection_id] = due_at

    def count(self, standing: MessageState) -> None:
        """Count the status that a message came to have; messages for trial do not count."""
        if standing.test:
            return
        key = (
            standing.workspace_id,
            self.now // HOUR * HOUR // SECOND,
            standing.connection_id,
            standing.campaign,
            standing.template_id,
            standing.status.value,
            standing.code or 0,
            self.node % COUNT_ROWS,
        )
        self.unit.counters.add("message_counts.add", key, 1)

    async def write(self, tx: Tx) -> None:
        """Write where the messages stand now, and emit the events of how they came there."""
        rows: list[tuple[Any, ...]] = []
        for id_ in sorted(self._dirty):
            s = self.standings[id_]
            notes = self._notes.get(id_)
            rows.append(
                (
                    id_,
                    s.status.value,
                    s.status_at,
                    s.code,
                    s.reason,
                    s.provider_code,
                    s.provider_message_id,
                    s.provider_key,
                    s.connection_id,
                    s.tries,
                    s.due_at,
                    s.node,
                    s.parts,
                    s.price_micros,
                    s.currency,
                    s.carrier,
                    "," + _encode(notes)[1:-1].decode() if notes else "",
                    self.now,
                )
            )
        await tx.insert("messages.write", rows)
        self.unit.emit(self.events)
        self.events = []
