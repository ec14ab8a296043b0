"""Create and change profiles by request, as an identify call does; and read all that is known of one, page by page."""

from typing import Any

import msgspec
from msgspec import UNSET, Raw

from waypost.domain.events.event import Event
from waypost.domain.events.segment import TYPES, Entry, EventContents, Identifier, message_key
from waypost.domain.values.ids import public
from waypost.engine.audience.identities import resolve_identities
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Tx

_encode = msgspec.json.Encoder().encode


async def identify(
    tx: Tx, unit: Unit, workspace_id: int, identifiers: list[Identifier], traits: dict[str, Any]
) -> tuple[int, bool]:
    """Resolve identifiers to a profile, set its traits, and emit `profile.identified`.

    Return the profile, and whether it is new. Identifiers are normalised, and the strongest kind comes first.
    """
    known = dict(identifiers)
    shown = {kind: known[kind] for kind in ("email", "phone") if kind in known} | traits
    contents = EventContents(
        user_id=known.get("user_id"),
        anonymous_id=known.get("anonymous_id"),
        traits=Raw(_encode(shown)) if shown else UNSET,
    )
    floor = unit.ids.one(unit.now)
    name = f"waypost-{public('evt', floor)}"
    entry = Entry(
        workspace_id=workspace_id,
        kind="identify",
        type=TYPES["identify"],
        metric=None,
        message_id=name,
        message_key=message_key(workspace_id, name),
        identifiers=tuple(identifiers),
        traits=traits,
        occurred_at=unit.now,
        received_at=unit.now,
        data=_encode(contents),
    )
    (profile_id,) = await resolve_identities(tx, [entry], unit)
    unit.emit([Event(workspace_id, entry.type, profile_id, unit.now, name, entry.data, entry.message_key)])
    # Ids rise: what this transaction created is newer than the id that it took first.
    return profile_id, profile_id > floor
