"""Load what conditions ask about people: one query per kind of fact for any number of people."""

from collections.abc import Iterable

import msgspec

from waypost.domain.audience.conditions import (
    Condition,
    EventTest,
    IdentifierTest,
    ListTest,
    SubscriptionTest,
    TagTest,
    nodes,
)
from waypost.domain.audience.membership import EventFact, PersonFacts
from waypost.domain.audience.profiles import Traits, current
from waypost.storage.database import Tx

_traits = msgspec.json.Decoder(Traits)
#: Before every event.
_EVER = -(1 << 62)


class NeededFacts(msgspec.Struct):
    """Which facts some conditions ask about."""

    identifiers: bool = False
    lists: bool = False
    tags: bool = False
    channels: bool = False
    #: By type of events: whether their data is needed.
    events: dict[str, bool] = {}
    #: By type of events: how far back from the present they count, in microseconds; None for all of them.
    back: dict[str, int | None] = {}

    def add(self, condition: Condition) -> None:
        """Add what a condition asks about."""
        for node in nodes(condition):
            if isinstance(node, IdentifierTest):
                self.identifiers = True
            elif isinstance(node, ListTest):
                self.lists = True
            elif isinstance(node, TagTest):
                self.tags = True
            elif isinstance(node, SubscriptionTest):
                self.channels = True
            elif isinstance(node, EventTest):
                self.events[node.type] = self.events.get(node.type, False) or bool(node.where)
                known = self.back.get(node.type, 0)
                self.back[node.type] = None if known is None or node.within is None else max(known, node.within)


def needed_facts(conditions: Iterable[Condition]) -> NeededFacts:
    """Return which facts these conditions ask about."""
    needed = NeededFacts()
    for condition in conditions:
        needed.add(condition)
    return needed


async def load_facts(
    tx: Tx, workspace_id: int, ids: list[int], needed: NeededFacts, now: int
) -> dict[int, PersonFacts]:
    """Return the facts of the profiles that exist and were not merged into others."""
    rows = await tx.rows("facts.people", workspace_id=workspace_id, ids=ids)
    people = {id_: PersonFacts(traits=current(_traits.decode(traits))) for id_, traits in rows}
    there = sorted(people)
    if not there:
        return people
    if needed.identifiers:
        for id_, kind, value in await tx.rows("facts.identifiers", ids=there):
            people[id_].identifiers.setdefault(kind, []).append(value)
    if needed.lists:
        for id_, list_id in await tx.rows("facts.lists", ids=there, workspace_id=workspace_id):
            people[id_].lists.add(list_id)
    if needed.tags:
        for id_, tag in await tx.rows("facts.tags", ids=there, workspace_id=workspace_id):
            people[id_].tags.add(tag)
    if needed.channels:
        for id_, channel in await tx.rows("facts.channels", ids=there):
            people[id_].channels.add(channel)
    if needed.events:
        back = list(needed.back.values())
        since = _EVER if None in back else now - max(one for one in back if one is not None)
        rows = await tx.rows(
            "facts.events",
            ids=there,
            types=sorted(needed.events),
            with_data=sorted(type_ for type_, data in needed.events.items() if data),
            since=since,
        )
        for id_, type_, at, data in rows:
            people[id_].events.setdefault(type_, []).append(EventFact(at, data))
    return people
