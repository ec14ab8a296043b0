"""Changes of messages in one transaction: each message is loaded once, changed in memory, and written in bulk."""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from waypost.clock import HOUR, SECOND
from waypost.domain.audience.subscriptions import SubscriptionChange
from waypost.domain.events.event import Event
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.message_events import status_changed
from waypost.domain.messaging.status import HistoryEntry, MessageState, Transition, transition
from waypost.domain.texts.status import TextStatus, reported_statuses
from waypost.engine.audience.subscriptions import set_subscriptions
from waypost.engine.runtime.unit import COUNT_ROWS, Unit
from waypost.storage.database import Tx

#: The columns of `messages.write` in its order, without the last two: what is appended to `history`, and `updated_at`.
WRITTEN = (
    "id",
    "status",
    "status_at",
    "code",
    "reason",
    "provider_code",
    "provider_message_id",
    "provider_key",
    "connection_id",
    "tries",
    "due_at",
    "node",
    "parts",
    "price_micros",
    "currency",
    "carrier",
)

_written = attrgetter(*WRITTEN)
_encode = msgspec.json.Encoder().encode
_states = msgspec.json.Decoder(list[MessageState])
_pairs = msgspec.json.Decoder(list[tuple[int, int]])


class TextMoved(msgspec.Struct):
    """A transition of a message that a client of the text-message API requested."""

    message_id: int
    workspace_id: int
    profile_id: int | None
    address: str
    #: The history entry of the transition.
    entry: HistoryEntry
    #: The statuses to report to the client, in order.
    statuses: list[TextStatus]


class RecipientMoved(msgspec.Struct):
    """A transition of a message of a campaign."""

    occurrence_id: int
    profile_id: int | None
    variant: str | None
    message_id: int
    #: Status, reason and code before and after it.
    before: tuple[Status, str | None, int | None]
    after: tuple[Status, str | None, int | None]

    @property
    def recipient_id(self) -> int:
        """The profile in the ledger; the row of a deleted person has the negative id of the message instead."""
        return -self.message_id if self.profile_id is None else self.profile_id


class MessagingNotes(msgspec.Struct):
    """What a unit of work passes to the sender after the commit, and to areas that follow messages."""

    #: By connection: when the first of its queued messages is due.
    due: dict[int, int] = {}
    #: Connections that were paused, with their workspaces.
    paused: dict[int, int] = {}
    #: Results of sends that were recorded.
    results: list[Any] = []
    #: When the first of the messages that sending rules held is due, or None.
    held_until: int | None = None
    #: Texts whose status changed, in order.
    texts: list[TextMoved] = []
    #: Messages of campaigns whose status changed, in order.
    recipients: list[RecipientMoved] = []


class Transitions:
    """The messages that a unit of work changes, with the events and counts that follow from their transitions."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.node = unit.node
        self.now = unit.now
        #: The messages that were loaded, by id.
        self.states: dict[int, MessageState] = {}
        self.events: list[Event] = []
        #: Statements of people about their addresses, in the order of arrival.
        self.subscription_changes: list[SubscriptionChange] = []
        notes = unit.notes(MessagingNotes)
        self._due, self._texts, self._recipients = notes.due, notes.texts, notes.recipients
        #: What `write` appends to the histories.
        self._entries: dict[int, list[HistoryEntry]] = {}
        self._changed: set[int] = set()

    async def load(self, tx: Tx, ids: Iterable[int]) -> None:
        """Load the states of messages that are not loaded yet; PostgreSQL locks their rows."""
        missing = sorted(set(ids) - self.states.keys())
        if missing:
            row = await tx.row("messages.load", ids=missing)
            for state in _states.decode(row[0] if row else "[]"):
                self.states[state.id] = state

    async def find(self, tx: Tx, keys: Sequence[int]) -> dict[int, list[int]]:
        """Return the messages with these keys of provider ids; two providers of a workspace may use the same id."""
        row = await tx.row("messages.by_provider", keys=list(keys)) if keys else None
        found: dict[int, list[int]] = {}
        for key, id_ in sorted(_pairs.decode(row[0])) if row else ():
            found.setdefault(key, []).append(id_)
        return found

    def apply(self, state: MessageState, change: Transition) -> bool:
        """Apply a transition to a message; return whether its status changed."""
        before = state.status
        was = (before, state.reason, state.code)
        changed, entry = transition(state, change)
        self._changed.add(state.id)
        if entry is not None:
            self._entries.setdefault(state.id, []).append(entry)
        if changed and entry is not None:
            self.events.append(status_changed(state, entry))
            self.count(state)
            if state.text_client_id is not None:
                self._note_text(state, before, entry)
        if state.occurrence_id is not None and was != (now := (state.status, state.reason, state.code)):
            self._recipients.append(
                RecipientMoved(state.occurrence_id, state.profile_id, state.variant, state.id, was, now)
            )
        self._note_due(state)
        return changed

    def announce(self, state: MessageState, entry: HistoryEntry) -> None:
        """Emit the event of a new message, count it, and note when it is due."""
        self.events.append(status_changed(state, entry))
        self.count(state)
        if state.text_client_id is not None:
            self._note_text(state, None, entry)
        self._note_due(state)

    def _note_text(self, state: MessageState, before: Status | None, entry: HistoryEntry) -> None:
        statuses = reported_statuses(before, state)
        if statuses:
            self._texts.append(
                TextMoved(state.id, state.workspace_id, state.profile_id, state.address, entry, statuses)
            )

    def _note_due(self, state: MessageState) -> None:
        due_at = state.due_at
        if due_at is not None and due_at < self._due.get(state.connection_id, due_at + 1):
            self._due[state.connection_id] = due_at

    def count(self, state: MessageState) -> None:
        """Count the new status of a message; test messages do not count."""
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
        """Write the messages that changed, set subscriptions, and emit the events of both."""
        rows: list[tuple[Any, ...]] = []
        for id_ in sorted(self._changed):
            entries = self._entries.get(id_)
            history = "," + _encode(entries)[1:-1].decode() if entries else ""
            rows.append((*_written(self.states[id_]), history, self.now))
        await tx.insert("messages.write", rows)
        self.unit.emit(self.events)
        changes, self.events, self.subscription_changes = self.subscription_changes, [], []
        await set_subscriptions(tx, changes, self.unit)
