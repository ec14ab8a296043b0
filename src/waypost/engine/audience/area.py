"""People as an area of the recorder: an event that comes in leads to a profile, and changes it."""

from typing import Any

from waypost.domain.events.event import Event
from waypost.domain.events.segment import Entry
from waypost.engine.audience.identities import resolve_identities
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Tx


class AudienceArea:
    """Records what clients say of people, each message id once."""

    takes: frozenset[type] = frozenset({Entry})

    async def record(self, tx: Tx, items: dict[type, list[Any]], unit: Unit) -> None:
        """Drop repeats, lead the entries to profiles, fold what they say into these, and emit the events."""
        entries: list[Entry] = await unit.unseen(tx, items[Entry])
        if not entries:
            return
        profile_ids = await resolve_identities(tx, entries, unit.ids, unit.now)
        unit.emit(
            [
                Event(
                    entry.workspace_id,
                    entry.type,
                    profile_id,
                    entry.occurred_at,
                    entry.message_id,
                    entry.data,
                    entry.message_key,
                    entry.metric,
                )
                for entry, profile_id in zip(entries, profile_ids, strict=True)
            ]
        )

    async def react(self, tx: Tx, events: list[Event], unit: Unit) -> None:
        """No profile changes by an event that Waypost made itself."""

    def committed(self, unit: Unit) -> None:
        """Nothing waits for a changed profile."""

    def given_up(self, item: Any) -> None:
        """Whoever sent an event is told that it was not recorded."""

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None:
        """Nothing of it is held by a node."""
