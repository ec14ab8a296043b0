"""Who belongs to an audience: people of lists and of segments and single people, without the excluded ones."""

from collections.abc import Iterable

import msgspec

from waypost.domain.audience.comparisons import invalid
from waypost.domain.audience.conditions import (
    DEEPEST_SEGMENTS,
    Condition,
    EventTest,
    expand,
    nodes,
    read_condition,
    segments_in,
)
from waypost.engine.audience.trait_indexes import usable_indexes
from waypost.storage.conditions import PeopleSet, count_and_first, count_ids, select_ids
from waypost.storage.database import Tx

_decode = msgspec.json.Decoder().decode


class AudienceSet(msgspec.Struct, frozen=True):
    """People by any of several ways, as internal ids."""

    lists: tuple[int, ...] = ()
    segments: tuple[int, ...] = ()
    profiles: tuple[int, ...] = ()
    #: Conditions that are not saved as segments.
    conditions: tuple[Condition, ...] = ()


NOBODY = AudienceSet()


async def page_of_audience(
    tx: Tx,
    workspace_id: int,
    audience: AudienceSet,
    exclude: AudienceSet,
    after_id: int,
    n: int,
    now: int,
    *,
    timeout_s: float | None = None,
) -> list[int]:
    """Return the ids of up to `n` people with ids above `after_id`, in ascending order; profiles that were merged into
    others are never among them. Pages of many thousands cost less than many small ones.
    """
    people, excluded = await _load(tx, workspace_id, audience), await _load(tx, workspace_id, exclude)
    indexes = await usable_indexes(tx, workspace_id, [*people.conditions, *excluded.conditions])
    select = select_ids(tx.dialect, workspace_id, people, excluded, now, after=after_id, n=n, indexes=indexes)
    return [row[0] for row in await tx.select(select, timeout_s=timeout_s)]


async def count_audience(
    tx: Tx, workspace_id: int, audience: AudienceSet, exclude: AudienceSet, now: int, *, timeout_s: float | None = None
) -> int:
    """Return how many people belong to an audience; raise QueryTimeout if counting takes longer than `timeout_s`."""
    people, excluded = await _load(tx, workspace_id, audience), await _load(tx, workspace_id, exclude)
    indexes = await usable_indexes(tx, workspace_id, [*people.conditions, *excluded.conditions])
    rows = await tx.select(count_ids(tx.dialect, workspace_id, people, excluded, now, indexes), timeout_s=timeout_s)
    return int(rows[0][0])


async def count_with_sample(
    tx: Tx, workspace_id: int, condition: Condition, n: int, now: int, *, timeout_s: float | None = None
) -> tuple[int, list[int]]:
    """Return for how many people a condition holds, with the first `n`; raise QueryTimeout as `count_audience`."""
    audience = AudienceSet(conditions=(condition,))
    people = await _load(tx, workspace_id, audience)
    if not any(isinstance(node, EventTest) for one in people.conditions for node in nodes(one)):
        count = await count_audience(tx, workspace_id, audience, NOBODY, now, timeout_s=timeout_s)
        return count, await page_of_audience(tx, workspace_id, audience, NOBODY, 0, n, now, timeout_s=timeout_s)
    indexes = await usable_indexes(tx, workspace_id, people.conditions)
    select = count_and_first(tx.dialect, workspace_id, people, now, n, indexes)
    rows = await tx.select(select, timeout_s=timeout_s)
    return rows[0][0] if rows else 0, [row[1] for row in rows]


async def _load(tx: Tx, workspace_id: int, audience: AudienceSet) -> PeopleSet:
    """Return a set of people with the conditions of its segments."""
    conditions = [await expand_condition(tx, workspace_id, condition) for condition in audience.conditions]
    if audience.segments:
        known = await load_conditions(tx, workspace_id, audience.segments)
        for id_ in audience.segments:
            if id_ not in known:
                raise invalid("segments", "no segment with this id exists in this workspace.", code="unknown_segment")
            conditions.append(expand(known[id_], known))
    return PeopleSet(audience.lists, conditions, audience.profiles)


async def expand_condition(tx: Tx, workspace_id: int, condition: Condition) -> Condition:
    """Return a condition with the conditions of the segments that it names."""
    return expand(condition, await load_conditions(tx, workspace_id, segments_in(condition)))


async def load_conditions(tx: Tx, workspace_id: int, ids: Iterable[int]) -> dict[int, Condition]:
    """Return the conditions of segments and of all segments that they name; unknown ones are missing."""
    found: dict[int, Condition] = {}
    more = set(ids)
    for _ in range(DEEPEST_SEGMENTS + 1):
        if not more:
            break
        for id_, tree in await tx.rows("segments.conditions", workspace_id=workspace_id, ids=sorted(more)):
            found[id_] = read_condition(_decode(tree))
        more = {inner for id_ in more & found.keys() for inner in segments_in(found[id_])} - found.keys()
    return found
