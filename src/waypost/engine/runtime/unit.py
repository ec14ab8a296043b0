"""One unit of work: what a transaction records, what follows from it, and the areas that say so."""

from typing import Any, Protocol, TypeVar

import msgspec

from waypost.clock import Ids
from waypost.domain.events.event import Event
from waypost.storage.database import Tx

#: Rows of a counter over which nodes spread their counting, so that they do not wait for each other's transactions.
COUNT_ROWS = 8

_keys = msgspec.json.Decoder(list[tuple[int, int, str]])

S = TypeVar("S")


class Repeatable(Protocol):
    """What may be handed in more than once and takes effect once."""

    workspace_id: int
    message_id: str
    #: 64 bits that stand for workspace and message id; 0 for what is never a repeat.
    message_key: int


R = TypeVar("R", bound=Repeatable)


class NotHeld(Exception):
    """Some of what a unit was to settle is no longer held by this process; with `verify_held` it looks first."""


class Counters:
    """Changes to counters, gathered over a transaction and written at its end."""

    def __init__(self) -> None:
        self._changes: dict[str, dict[tuple[Any, ...], list[int]]] = {}

    def add(self, query: str, key: tuple[Any, ...], *changes: int) -> None:
        """Change the counters of a row. `query` inserts rows of the key and the counters, and adds on a conflict."""
        rows = self._changes.setdefault(query, {})
        row = rows.get(key)
        if row is None:
            rows[key] = list(changes)
        else:
            for position, change in enumerate(changes):
                row[position] += change

    async def write(self, tx: Tx) -> None:
        """Write all changes; in the order of their keys, so that two transactions cannot wait for each other."""
        for query, rows in sorted(self._changes.items()):
            await tx.insert(query, [(*key, *row) for key, row in sorted(rows.items())])


class Unit:
    """What one transaction is about: its moment, its events and counters, and what areas note for after the commit.

    It lives as long as one try of the transaction: a transaction that is run again gets a new one.
    """

    def __init__(self, ids: Ids, now: int, *, verify_held: bool = False) -> None:
        self.ids = ids
        self.node = ids.node
        self.now = now
        #: Whether to look which deliveries this process still holds before it settles them.
        self.verify_held = verify_held
        #: Events that were emitted and are not recorded yet.
        self.events: list[Event] = []
        #: How many events it recorded, and how many repeats it dropped.
        self.recorded = 0
        self.repeats = 0
        #: Whether events wait for a later transaction that reacts to them.
        self.deferred = False
        self.counters = Counters()
        self._notes: dict[type, Any] = {}

    def emit(self, events: list[Event]) -> None:
        """Record these events, and let every area react to them."""
        self.events += events

    async def record_events(self, tx: Tx) -> list[Event]:
        """Write the events that were emitted since the last call; gives them back with their ids, in their order."""
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
        """Record what was emitted, and leave it to a later transaction to react to it."""
        events = await self.record_events(tx)
        if events:
            await tx.insert("deferred.add", [(event.id,) for event in events])
            self.deferred = True

    async def take_deferred(self, tx: Tx, n: int) -> list[Event]:
        """Some of the events that wait for a reaction; they wait no longer."""
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
        """What an area keeps for itself from its first entry to the commit; made when first asked for."""
        found = self._notes.get(kind)
        if found is None:
            found = self._notes[kind] = kind()
        return found

    def noted(self, kind: type[S]) -> S | None:
        """What an area noted in this unit; None when it noted nothing."""
        return self._notes.get(kind)

    async def unseen(self, tx: Tx, items: list[R]) -> list[R]:
        """The items that were never recorded; a repeat drops out, within the list too.

        An item whose key is another one's (1 in 10^10) stays, with the key 0: it is not protected against a repeat.
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

    #: The types of what it records.
    takes: frozenset[type]

    async def record(self, tx: Tx, items: dict[type, list[Any]], unit: Unit) -> None:
        """Record its own entries, in bulk, by their types; only called with some."""
        ...

    async def react(self, tx: Tx, events: list[Event], unit: Unit) -> None:
        """Write what follows from events. Events that it emits make another round."""
        ...

    def committed(self, unit: Unit) -> None:
        """Hand on what was committed: wake-ups, work held in memory."""
        ...

    def given_up(self, item: Any) -> None:
        """Forget what was reported and cannot be recorded, however often it is tried."""
        ...

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None:
        """Free what these nodes held, since they are gone; None stands for every node but this one."""
        ...


def _same(item: Repeatable, workspace_id: int, message_id: str) -> bool:
    return item.workspace_id == workspace_id and item.message_id == message_id
