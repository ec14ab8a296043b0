"""Saved segments: create, change in versions, delete; and who is in one."""

from typing import Any

import msgspec

from waypost.clock import Ids
from waypost.domain.audience.comparisons import invalid
from waypost.domain.audience.conditions import Condition, ListTest, expand, nodes, read_condition, segments_in
from waypost.domain.audience.membership import is_member
from waypost.domain.values.ids import public
from waypost.engine.audience.audiences import count_with_sample, expand_condition
from waypost.engine.audience.facts import load_facts, needed_facts
from waypost.engine.audience.lists import find_list
from waypost.engine.audience.trait_indexes import declare_indexes
from waypost.errors import Conflict, NotFound
from waypost.storage.database import Database, QueryTimeout, Tx

#: The area of the configuration version of segments.
AREA = "segments"
#: The most segments of a workspace, and the most that are tracked.
MOST_SEGMENTS, MOST_TRACKED = 1_000, 200
#: Seconds that a count may take before it is estimated, and the people of whom it is estimated.
COUNT_S, SAMPLE = 1.5, 1_000
#: The people that a preview shows.
SHOWN = 10
#: Segments and campaigns that use a list which an error names.
NAMED = 5

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class SavedSegment(msgspec.Struct, kw_only=True):
    """A saved segment in its present version."""

    id: int
    name: str
    #: The condition as JSON.
    condition: dict[str, Any]
    version: int
    tracked: bool
    #: Whether its members are complete; always true for a segment that is not tracked.
    complete: bool
    created_at: int
    updated_at: int


class SegmentCount(msgspec.Struct):
    """How many people are in a segment, and some of them."""

    count: int
    approximate: bool
    sample: list[int]


async def create_segment(
    tx: Tx, ids: Ids, workspace_id: int, name: str, tree: Any, tracked: bool, announces: bool, now: int
) -> SavedSegment:
    """Create a segment; raise Invalid if the condition is not valid, Conflict over the limit."""
    # First: of two changes at once the second reads what the first wrote.
    await tx.run("configurations.touch", workspace_id=workspace_id, area=AREA)
    condition = await check_condition(tx, workspace_id, tree)
    rows = await tx.rows("segments.all", workspace_id=workspace_id)
    _check_limits(len(rows) + 1, sum(row[4] for row in rows) + tracked)
    known = {row[0]: read_condition(_decode(row[2])) for row in rows}
    expand(condition, known)
    id_, text = ids.one(now), _encode(tree).decode()
    await tx.run(
        "segments.insert",
        id=id_,
        workspace_id=workspace_id,
        name=name,
        condition=text,
        tracked=int(tracked),
        filled_to=0 if tracked else None,
        announces=int(announces),
        now=now,
    )
    await tx.run("segments.add_version", id=id_, version=1, condition=text, now=now)
    await declare_indexes(tx, ids, workspace_id, [*known.values(), condition], now)
    return await find_segment(tx, workspace_id, id_)


async def change_segment(
    tx: Tx,
    ids: Ids,
    workspace_id: int,
    was: SavedSegment,
    name: str,
    tree: Any,
    tracked: bool,
    announces: bool,
    now: int,
) -> SavedSegment:
    """Change a segment; another condition makes a new version. Raise Conflict if it was changed meanwhile."""
    await tx.run("configurations.touch", workspace_id=workspace_id, area=AREA)
    condition = await check_condition(tx, workspace_id, tree)
    rows = await tx.rows("segments.all", workspace_id=workspace_id)
    _check_limits(len(rows), sum(row[4] for row in rows if row[0] != was.id) + tracked)
    known = {row[0]: read_condition(_decode(row[2])) for row in rows} | {was.id: condition}
    users = _users(was.id, known)
    for id_ in (was.id, *users):
        expand(known[id_], known)
    text = _encode(tree).decode()
    changed = text != _encode(was.condition).decode()
    version = was.version + changed
    values = {
        "workspace_id": workspace_id,
        "id": was.id,
        "name": name,
        "condition": text,
        "was": was.version,
        "now": now,
    }
    if not await tx.run("segments.change", version=version, tracked=int(tracked), **values):
        raise Conflict(
            "Another request changed the segment at the same time; read it again and retry.", code="segment_changed"
        )
    if changed:
        await tx.run("segments.add_version", id=was.id, version=version, condition=text, now=now)
        await declare_indexes(tx, ids, workspace_id, known.values(), now)
    if changed or tracked != was.tracked:
        tracked_ids = {row[0] for row in rows if row[4]}
        if tracked != was.tracked:
            await tx.run("segments.refill", ids=[was.id], announces=int(announces), now=now)
        elif tracked:
            # The events of the members before the change and after it must alternate.
            await tx.run("segments.refill", ids=[was.id], announces=1, now=now)
        if changed and (others := sorted(users & tracked_ids)):
            await tx.run("segments.refill", ids=others, announces=1, now=now)
    return await find_segment(tx, workspace_id, was.id)


async def delete_segment(tx: Tx, ids: Ids, workspace_id: int, id_: int, now: int) -> None:
    """Delete a segment; raise Conflict while another segment or a campaign that is not over names it."""
    await tx.run("configurations.touch", workspace_id=workspace_id, area=AREA)
    rows = await tx.rows("segments.all", workspace_id=workspace_id)
    names = {row[0]: row[1] for row in rows}
    if id_ not in names:
        raise NotFound("There is no such segment in this workspace; it may have been deleted.")
    known = {row[0]: read_condition(_decode(row[2])) for row in rows}
    for row in rows:
        if id_ in segments_in(known[row[0]]):
            raise Conflict(
                f"The segment {row[1]!r} names this one. Change or delete that one first.", code="segment_in_use"
            )
    # First: a launch holds the segment until its campaign can be seen.
    await tx.run("segments.delete", workspace_id=workspace_id, id=id_, now=now)
    campaigns = await tx.rows("segments.campaigns", workspace_id=workspace_id, name=public("seg", id_), n=1)
    if campaigns:
        raise Conflict(
            f"The campaign {campaigns[0][0]!r} names this segment. Finish or cancel it first.", code="segment_in_use"
        )
    del known[id_]
    await declare_indexes(tx, ids, workspace_id, known.values(), now)


async def delete_list(tx: Tx, workspace_id: int, id_: int, now: int) -> None:
    """Delete a list; raise Conflict while a segment or a campaign that is not over names it."""
    # First: of a new segment and this at once, the second reads what the first wrote.
    await tx.run("configurations.touch", workspace_id=workspace_id, area=AREA)
    known = await find_list(tx, workspace_id, id_)
    await tx.run("lists.delete", id=known.id, now=now)
    segments = [
        row[1]
        for row in await tx.rows("segments.all", workspace_id=workspace_id)
        if _names_list(read_condition(_decode(row[2])), id_)
    ]
    campaigns = await tx.rows("segments.campaigns", workspace_id=workspace_id, name=public("lst", id_), n=NAMED + 1)
    users = [f"the segment {name!r}" for name in segments] + [f"the campaign {row[0]!r}" for row in campaigns]
    if users:
        named = ", ".join(users[:NAMED]) + (" and others" if len(users) > NAMED else "")
        raise Conflict(
            f"The list is used by {named}. Change or delete these segments, and finish or cancel these campaigns, or "
            "take the list from them.",
            code="list_in_use",
        )


async def forget_list(tx: Tx, list_id: int, now: int) -> None:
    """Have everybody evaluated again for tracked segments that name a deleted list whose members were deleted."""
    row = await tx.row("lists.workspace", id=list_id)
    if row is None:
        return
    await tx.run("configurations.touch", workspace_id=row[0], area=AREA)
    rows = await tx.rows("segments.all", workspace_id=row[0])
    known = {row[0]: read_condition(_decode(row[2])) for row in rows}
    direct = {id_ for id_, condition in known.items() if _names_list(condition, list_id)}
    concerned = direct.union(*(_users(id_, known) for id_ in direct))
    if ids := sorted(concerned & {row[0] for row in rows if row[4]}):
        await tx.run("segments.refill", ids=ids, announces=1, now=now)


def _names_list(condition: Condition, list_id: int) -> bool:
    return any(isinstance(node, ListTest) and node.list_id == list_id for node in nodes(condition))


async def find_segment(tx: Tx, workspace_id: int, id_: int) -> SavedSegment:
    """Return a segment; raise NotFound if there is none."""
    records = await tx.records("segments.get", workspace_id=workspace_id, id=id_)
    if not records:
        raise NotFound("There is no such segment in this workspace; it may have been deleted.")
    return _read(records[0])


async def list_segments(tx: Tx, workspace_id: int, before: int, n: int) -> list[SavedSegment]:
    """Return a page of segments, newest first."""
    return [_read(one) for one in await tx.records("segments.list", workspace_id=workspace_id, before=before, n=n)]


def _read(record: dict[str, Any]) -> SavedSegment:
    filled_to = record.pop("filled_to")
    tracked = bool(record.pop("tracked"))
    condition = _decode(record.pop("condition"))
    return SavedSegment(**record, condition=condition, tracked=tracked, complete=filled_to is None or not tracked)


async def check_condition(tx: Tx, workspace_id: int, tree: Any) -> Condition:
    """Return a condition from JSON; raise Invalid if it is not valid or names a list that does not exist."""
    condition = read_condition(tree)
    lists = {node.list_id for node in nodes(condition) if isinstance(node, ListTest)}
    if lists:
        rows = await tx.rows("segments.lists", workspace_id=workspace_id, ids=sorted(lists))
        for list_id in sorted(lists - {row[0] for row in rows}):
            raise invalid("condition", f"the list {public('lst', list_id)} does not exist.", code="unknown_list")
    return condition


async def count_people(database: Database, workspace_id: int, condition: Condition, now: int) -> SegmentCount:
    """Return how many people a condition holds for, and some of them.

    A count that takes too long is estimated from some people, of whom each is evaluated alone.
    """

    async def count(tx: Tx) -> SegmentCount:
        found, sample = await count_with_sample(tx, workspace_id, condition, SHOWN, now, timeout_s=COUNT_S)
        return SegmentCount(found, False, sample)

    try:
        return await database.read(count)
    except QueryTimeout:
        return await database.read(_estimate, workspace_id, condition, now)


async def _estimate(tx: Tx, workspace_id: int, condition: Condition, now: int) -> SegmentCount:
    expanded = await expand_condition(tx, workspace_id, condition)
    row = await tx.row("segments.population", workspace_id=workspace_id)
    population = row[0] if row else 0
    step = max(1, population // SAMPLE)
    ids = [row[0] for row in await tx.rows("segments.sample", workspace_id=workspace_id, step=step, n=2 * SAMPLE)]
    facts = await load_facts(tx, workspace_id, ids, needed_facts([expanded]), now)
    found = [id_ for id_ in ids if id_ in facts and is_member(expanded, facts[id_], now)]
    count = round(population * len(found) / len(ids)) if ids else 0
    return SegmentCount(count, True, found[:SHOWN])


def _users(id_: int, known: dict[int, Condition]) -> set[int]:
    """Return the segments that name a segment, directly or through others."""
    found: set[int] = set()
    more = {id_}
    while more:
        more = {user for user, condition in known.items() if segments_in(condition) & more} - found
        found |= more
    return found - {id_}


def _check_limits(segments: int, tracked: int) -> None:
    if segments > MOST_SEGMENTS:
        raise Conflict(f"A workspace may have at most {MOST_SEGMENTS} segments; delete some.", code="too_many_segments")
    if tracked > MOST_TRACKED:
        raise Conflict(
            f"A workspace may have at most {MOST_TRACKED} tracked segments; set `tracked` of some to false.",
            code="too_many_segments",
        )
