"""Tracked segments of a workspace: which of them an event or a change concerns, and who is a member now."""

from collections.abc import Iterable
from typing import Any

import msgspec

from waypost.domain.audience.conditions import (
    Condition,
    EventTest,
    IdentifierTest,
    ListTest,
    SubscriptionTest,
    TagTest,
    TraitTest,
    expand,
    nodes,
    read_condition,
)
from waypost.domain.audience.membership import is_member, next_check
from waypost.domain.audience.segment_events import segment_event
from waypost.engine.audience.facts import load_facts, needed_facts
from waypost.engine.audience.trait_indexes import TraitIndex, load_indexes
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Row, Tx

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
#: The event types by which a change of a person becomes known, by the kind of change.
_TYPES = {
    "list": ("list.joined", "list.left"),
    "tag": ("profile.tagged", "profile.untagged"),
    "subscription": ("subscription.changed",),
}
_NONE: frozenset[int] = frozenset()


class TrackedSegment(msgspec.Struct):
    """A tracked segment."""

    id: int
    name: str
    version: int
    #: Without segments in it.
    condition: Condition
    announces: bool


class TrackedSegments(msgspec.Struct):
    """The tracked segments of a workspace, with an index of what they depend on."""

    #: The configuration version.
    version: int
    by_id: dict[int, TrackedSegment] = {}
    #: The indexes of traits that are kept up.
    indexes: list[TraitIndex] = []
    #: By event type, and by the kind of a change: the ids of the segments that it may concern.
    by_type: dict[str, frozenset[int]] = {}
    by_change: dict[str, frozenset[int]] = {}

    def of_change(self, change: str) -> frozenset[int]:
        """Return the segments that a change of a person may concern."""
        kind = change.partition(":")[0]
        if kind in ("created", "merged"):
            return frozenset(self.by_id)
        return self.by_change.get(kind, _NONE)


async def load_tracked(tx: Tx, workspace_id: int, version: int) -> TrackedSegments:
    """Return the tracked segments of a workspace."""
    rows = await tx.rows("segments.all", workspace_id=workspace_id)
    known = {row[0]: read_condition(_decode(row[2])) for row in rows}
    found = TrackedSegments(version, indexes=await load_indexes(tx, workspace_id))
    types: dict[str, set[int]] = {}
    changes: dict[str, set[int]] = {}
    for id_, name, _, number, tracked, _, announces in rows:
        if not tracked:
            continue
        condition = expand(known[id_], known)
        found.by_id[id_] = TrackedSegment(id_, name, number, condition, bool(announces))
        for node in nodes(condition):
            if isinstance(node, EventTest):
                types.setdefault(node.type, set()).add(id_)
            for kind in _kinds(node):
                changes.setdefault(kind, set()).add(id_)
                for type_ in _TYPES.get(kind, ()):
                    types.setdefault(type_, set()).add(id_)
    found.by_type = {type_: frozenset(ids) for type_, ids in types.items()}
    found.by_change = {kind: frozenset(ids) for kind, ids in changes.items()}
    return found


def _kinds(node: Condition) -> tuple[str, ...]:
    if isinstance(node, TraitTest):
        return ("traits",)
    if isinstance(node, IdentifierTest):
        return ("identifiers",)
    if isinstance(node, ListTest):
        return ("list",)
    if isinstance(node, TagTest):
        return ("tag",)
    return ("subscription", "identifiers") if isinstance(node, SubscriptionTest) else ()


class Silence(msgspec.Struct):
    """Who enters without an event: those whom the first evaluation of a segment has not reached yet."""

    #: By segment that does not announce: the last profile that was evaluated.
    upto: dict[int, int] = {}
    #: Profiles that were created in the same transaction; they enter with an event.
    created: frozenset[int] = frozenset()

    def covers(self, segment_id: int, profile_id: int) -> bool:
        """Return whether a person enters a segment silently."""
        upto = self.upto.get(segment_id)
        return upto is not None and profile_id > upto and profile_id not in self.created


async def load_silence(tx: Tx, workspace_id: int, created: Iterable[int] = ()) -> Silence:
    """Return who enters without an event now."""
    rows = await tx.rows("segments.filling", workspace_id=workspace_id)
    return Silence({id_: upto for id_, upto, announces in rows if not announces}, frozenset(created))


async def evaluate(
    tx: Tx,
    unit: Unit,
    workspace_id: int,
    tracked: TrackedSegments,
    candidates: dict[int, set[int]],
    silence: Silence,
    gone: Iterable[int] = (),
) -> None:
    """Evaluate segments for people and write what changes; emit an event for each who entered or left.

    `candidates` has the segments by person. Those in `gone` were merged into others and leave all segments.
    """
    people = sorted({*candidates, *gone})
    if not people:
        return
    await tx.rows("segments.lock_people", ids=people)
    segments = sorted({id_ for ids in candidates.values() for id_ in ids} & tracked.by_id.keys())
    conditions = [tracked.by_id[id_].condition for id_ in segments]
    facts = await load_facts(tx, workspace_id, people, needed_facts(conditions), unit.now)
    members = {(row[0], row[1]) for row in await tx.rows("segment_members.of", ids=people)}
    due = {(row[0], row[1]): row[2] for row in await tx.rows("segment_rechecks.of", ids=people)}
    pairs = [(id_, person) for person in people for id_ in sorted(candidates.get(person, ())) if id_ in tracked.by_id]
    # A person who was merged away or deleted has no facts and leaves everything.
    lost = {pair for pair in (*members, *due) if pair[1] not in facts and pair[0] in tracked.by_id}
    entered: list[Row] = []
    left: list[Row] = []
    later: list[Row] = []
    over: list[Row] = []
    now = unit.now
    for pair in sorted({*pairs, *lost}):
        segment_id, person = pair
        known = facts.get(person)
        condition = tracked.by_id[segment_id].condition
        inside = known is not None and is_member(condition, known, now)
        if inside != (pair in members):
            (entered if inside else left).append(pair)
        check = None if known is None else next_check(condition, known, now)
        if check is None:
            if pair in due:
                over.append(pair)
        elif check != due.get(pair):
            later.append((*pair, check))
    await tx.insert("segment_members.insert", [(*pair, now) for pair in entered])
    if left:
        await tx.run("segment_members.delete", rows=_encode(left).decode())
    await tx.insert("segment_rechecks.set", later)
    if over:
        await tx.run("segment_rechecks.delete", rows=_encode(over).decode())
    events: list[Any] = []
    for rows, inside in ((entered, True), (left, False)):
        for segment_id, person in rows:
            if inside and silence.covers(segment_id, person):
                continue
            segment = tracked.by_id[segment_id]
            events.append(segment_event(workspace_id, segment_id, segment.name, segment.version, person, inside, now))
    unit.emit(events)
