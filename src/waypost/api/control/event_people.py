"""The people that events are about, as they are known now."""

from typing import Any

import msgspec

from waypost.domain.audience.profiles import Traits, current
from waypost.domain.values.ids import public
from waypost.storage.database import Row, Tx

_traits = msgspec.json.Decoder(Traits)


class EventPerson(msgspec.Struct, kw_only=True):
    """The person that an event is about, as known now."""

    id: str
    first_name: str | None
    last_name: str | None
    user_id: str | None
    email: str | None
    phone: str | None


async def load_people(tx: Tx, workspace_id: int, rows: list[Row]) -> dict[int, EventPerson]:
    """Return the people of a page of events by the profile ids in the events; merged profiles lead to who is left.

    Each row has the profile id at index 3, as those of `events.list` and similar queries have.
    """
    missing = {row[3] for row in rows if row[3] is not None}
    profiles: dict[int, Row] = {}
    while missing:
        found = await tx.rows("profiles.many", workspace_id=workspace_id, ids=sorted(missing))
        profiles |= {row[0]: row for row in found}
        missing = {row[1] for row in found if row[1] is not None} - profiles.keys()
    identifiers: dict[int, dict[str, str]] = {}
    if profiles:
        for profile_id, kind, value in await tx.rows("identities.of_many", ids=sorted(profiles)):
            identifiers.setdefault(profile_id, {}).setdefault(kind, value)
    people: dict[int, EventPerson] = {}
    for id_ in profiles:
        last = id_
        while profiles[last][1] is not None:
            last = profiles[last][1]
        traits, known = current(_traits.decode(profiles[last][2])), identifiers.get(last, {})
        people[id_] = EventPerson(
            id=public("pro", last),
            first_name=_text(traits, "first_name", "firstName"),
            last_name=_text(traits, "last_name", "lastName"),
            user_id=known.get("user_id"),
            email=known.get("email"),
            phone=known.get("phone"),
        )
    return people


def _text(traits: dict[str, Any], *names: str) -> str | None:
    return next((traits[name] for name in names if isinstance(traits.get(name), str)), None)
