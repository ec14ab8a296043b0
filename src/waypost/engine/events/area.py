"""The event area of the recorder: store which event types each workspace has seen."""

from typing import Any

import msgspec

from waypost.domain.events.event import Event
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Tx


class EventNotes(msgspec.Struct):
    """Event types that a unit of work wrote."""

    types: set[tuple[int, str]] = set()


class EventArea:
    """Stores the event types of each workspace, for the list of event types."""

    takes: frozenset[type] = frozenset()

    def __init__(self) -> None:
        #: Types that are in the database, with their workspace; they are not written again.
        self._types: set[tuple[int, str]] = set()

    async def record(self, tx: Tx, items: dict[type, list[Any]], unit: Unit) -> None:
        """Do nothing: the area records no items of its own."""

    async def react(self, tx: Tx, events: list[Event], unit: Unit) -> None:
        """Write the types of tracked events that are new to their workspace."""
        new = {
            (event.workspace_id, event.type): event.metric
            for event in events
            if event.metric is not None and (event.workspace_id, event.type) not in self._types
        }
        if new:
            await tx.insert("event_types.insert", [(*key, metric, unit.now) for key, metric in sorted(new.items())])
            unit.notes(EventNotes).types |= new.keys()

    def committed(self, unit: Unit) -> None:
        """Remember the types that were written."""
        notes = unit.noted(EventNotes)
        if notes is not None:
            self._types |= notes.types

    def given_up(self, item: Any) -> None:
        """Do nothing: the caller gets the error."""

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None:
        """Do nothing: nodes hold no event types."""
