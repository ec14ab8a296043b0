"""Units of work: what one transaction records and emits, and the interface of the areas that take part in it."""

from typing import Any, Protocol, TypeVar

import msgspec

from waypost.clock import Ids
from waypost.domain.events.event import Event
from waypost.storage.database import Tx

#: Rows per counter. Nodes spread their counts over them, so that they do not wait for each other's transactions.
COUNT_ROWS = 8

_keys = msgspec.json.Decoder(list[tuple[int, int, str]])

S = TypeVar("S")


class Identified(Protocol):
    """An item that clients may send more than once and that takes effect once."""

    workspace_id: int
    message_id: str
    #: A 64-bit digest of workspace and message id; 0 for an item that is never a repeat.
    message_key: int


R = TypeVar("R", bound=Identified)


class NotHeld(Exception):
    """This process no longer holds all the deliveries that a unit settles; a unit with `verify_held` checks first."""


class Counters:
    """Changes to counters, collected during a transaction and written at its end."""

    def __init__(self) -> None:
        self._changes: dict[str, dict[tuple[Any, ...], list[int]]] = {}

    def add(self, query: str, key: tuple[Any, ...], *changes: int) -> None:
        """Add changes to the counters of a row. `query` inserts key and counters, and adds them on a conflict."""
        rows = self._changes.setdefault(query, {})
        row = rows.get(key)
        if row is None:
            rows[key] = list(changes)
        else:
            for position, change in enumerate(changes):
                row[position] += change

    async def write(self, tx: Tx) -> None:
        """Write all changes in the order of their keys, so that two transactions cannot deadlock."""
        for query, rows in sorted(self._changes.items()):
            await tx.insert(query, [(*key, *row) for key, row in sorted(rows.items())])


class Unit:
    """The state of one transaction: its time, events and counters, and the notes that areas keep until the commit.

    Each try of a transaction has a unit of its own.
    """

    def __init__(self, ids: Ids, now: int, *, verify_held: bool = False) -> None:
        self.ids = ids
        self.node = ids.node
        self.now = now
        #: Whether to check which deliveries this process still holds before it settles them.
        self.verify_held = verify_held
        #: Events that were emitted and are not recorded yet.
        self.events: list[Event] = []
        #: How many events the unit recorded, and how many repeats it dropped.
        self.recorded = 0
        self.repeats = 0
        #: Whether events wait for a later transaction in which the areas react.
        self.deferred = False
        self.counters = Counters()
        #: Whether the areas react even if there are no events, because of notes that ask for it.
        self.needs_reaction = False
        self._notes: dict[type, Any] = {}

    def emit(self, events: list[Event]) -> None:
        """Record these events, and let every area react to them."""
        self.events += events

    async def record_events(self, tx: Tx) -> list[Event]:
        """Write the events emitted since the last call; return them with their ids, in order."""
        events, self.events = self.events, []
        if not events:
            return events
        for event, id_ in zip(events, self.ids.take(len(events), self.now), strict=True):
            event.id = id_
        await tx.insert(
            "events.insert",
            [
                (
                    e.id,
                    e.workspace_id,
                    e.message_key or None,
                    e.message_id,
                    e.type,
                    e.profile_id,
                    e.occurred_at,
                    e.data.decode(),
                )
                for e in events
            ],
        )
        self.recorded += len(events)
        return events

    async def defer_events(self, tx: Tx) -> None:
        """Record the emitted events; the areas react to them in a later transaction."""
        events = await self.record_events(tx)
        if events:
            await tx.insert("deferred.add", [(event.id,) for event in events])
            self.deferred = True

    async def take_deferred(self, tx: Tx, n: int) -> list[Event]:
        """Remove up to `n` events from the deferred events and return them."""
        rows = await tx.rows("deferred.take", n=n)
        if rows:
            await tx.run("deferred.delete", ids=[row[0] for row in rows])
        return [
            Event(
                id=id_,
                workspace_id=workspace_id,
                message_id=message_id,
                type=type_,
                profile_id=profile_id,
                occurred_at=occurred_at,
                data=data.encode(),
            )
            for id_, workspace_id, message_id, type_, profile_id, occurred_at, data in rows
        ]

    def notes(self, kind: type[S]) -> S:
        """Return the notes of an area in this unit; create them on first use."""
        found = self._notes.get(kind)
        if found is None:
            found = self._notes[kind] = kind()
            self.needs_reaction |= getattr(kind, "needs_reaction", False)
        return found

    def noted(self, kind: type[S]) -> S | None:
        """Return the notes of an area in this unit, or None."""
        return self._notes.get(kind)

    async def unseen(self, tx: Tx, items: list[R]) -> list[R]:
        """Return the items that were not recorded before; drop repeats, also within the list.

        An item whose key collides with another item's (1 in 10^10) is kept with the key 0: its repeats are not found.
        """
        first: dict[int, R] = {}
        fresh: list[R] = []
        for item in items:
            known = first.setdefault(item.message_key, item) if item.message_key else item
            if known is item:
                fresh.append(item)
            elif not _same(known, item.workspace_id, item.message_id):
                item.message_key = 0
                fresh.append(item)
        found = await tx.row("events.known", keys=list(first)) if first else None
        if found is not None and found[0] != "[]":
            seen = {key: (workspace_id, message_id) for key, workspace_id, message_id in _keys.decode(found[0])}
            kept = []
            for item in fresh:
                before = seen.get(item.message_key)
                if before is not None and not _same(item, *before):
                    item.message_key = 0
                elif before is not None:
                    continue
                kept.append(item)
            fresh = kept
        self.repeats += len(items) - len(fresh)
        return fresh


class Area(Protocol):
    """A part of the engine that records its own entries and reacts to events, called in the order of the areas."""

    #: The types of the items that it records.
    takes: frozenset[type]

    async def record(self, tx: Tx, items: dict[type, list[Any]], unit: Unit) -> None:
        """Record the area's own items, grouped by type. Called only when there are any."""
        ...

    async def react(self, tx: Tx, events: list[Event], unit: Unit) -> None:
        """Write what follows from events. Events that the area emits start another round."""
        ...

    def committed(self, unit: Unit) -> None:
        """Act on what was committed: wake jobs, queue work in memory."""
        ...

    def given_up(self, item: Any) -> None:
        """Forget a reported item that cannot be recorded."""
        ...

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None:
        """Release what these evicted nodes held; None stands for every node but this one."""
        ...


def _same(item: Identified, workspace_id: int, message_id: str) -> bool:
    return item.workspace_id == workspace_id and item.message_id == message_id
