"""Who belongs to an audience: people of lists and of segments and single people, without the excluded ones."""

from collections.abc import Iterable

import msgspec

from waypost.domain.audience.comparisons import invalid
from waypost.domain.audience.conditions import DEEPEST_SEGMENTS, Condition, expand, read_condition, segments_in
from waypost.engine.audience.trait_indexes import usable_indexes
from waypost.storage.conditions import PeopleSet, count_ids, select_ids
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
