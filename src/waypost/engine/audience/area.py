"""The audience area of the recorder: resolve entries to profiles, update these, and emit events."""

from typing import Any

from waypost.domain.events.event import Event
from waypost.domain.events.segment import Entry
from waypost.engine.audience.identities import resolve_identities
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Tx


class AudienceArea:
    """Records the entries that clients send, each message id once."""

    takes: frozenset[type] = frozenset({Entry})

    async def record(self, tx: Tx, items: dict[type, list[Any]], unit: Unit) -> None:
        """Drop repeats, resolve the entries to profiles, update the profiles, and emit the events."""
        entries: list[Entry] = await unit.unseen(tx, items[Entry])
        if not entries:
            return
        profile_ids = await resolve_identities(tx, entries, unit)
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
        """Do nothing: events of Waypost itself change no profile."""

    def committed(self, unit: Unit) -> None:
        """Do nothing: no work depends on a changed profile."""

    def given_up(self, item: Any) -> None:
        """Do nothing: the caller gets the error."""

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None:
        """Let other nodes go on with the imports that these read."""
        if nodes is None:
            await tx.run("imports.orphan_all")
        else:
            await tx.run("imports.orphan", nodes=nodes)
