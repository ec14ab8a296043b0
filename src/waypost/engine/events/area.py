"""Events as an area of the recorder: it keeps which types each workspace has seen."""

from typing import Any

import msgspec

from waypost.domain.events.event import Event
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Tx


class EventNotes(msgspec.Struct):
    """Event types that were written in a unit of work."""

    types: set[tuple[int, str]] = set()


class EventArea:
    """Keeps the event types of a workspace, for the catalogue and for whoever subscribes to them."""

    takes: frozenset[type] = frozenset()

    def __init__(self) -> None:
        #: Types that are in the database, by workspace: they are not written again.
        self._types: set[tuple[int, str]] = set()

    async def record(self, tx: Tx, items: dict[type, list[Any]], unit: Unit) -> None:
        """It takes no entries of its own."""

    async def react(self, tx: Tx, events: list[Event], unit: Unit) -> None:
        """Write the types of tracked events that were not seen before."""
        new = {
            (event.workspace_id, event.type): event.metric
            for event in events
            if event.metric is not None and (event.workspace_id, event.type) not in self._types
        }
        if new:
            await tx.insert("event_types.insert", [(*key, metric, unit.now) for key, metric in sorted(new.items())])
            unit.notes(EventNotes).types |= new.keys()

    def committed(self, unit: Unit) -> None:
        """Remember what was written."""
        notes = unit.noted(EventNotes)
        if notes is not None:
            self._types |= notes.types

    def given_up(self, item: Any) -> None:
        """Whoever sent an event is told that it was not recorded."""

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None:
        """Nothing of it is held by a node."""
