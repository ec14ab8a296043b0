"""The people of a campaign: pages of profile ids out of lists, segments and single profiles."""

from waypost.domain.campaigns.campaign import PLACES, Audience, Definition
from waypost.domain.values.ids import public
from waypost.engine.audience import audiences
from waypost.storage.database import Tx

#: The largest profile id.
LAST = (1 << 63) - 1
#: Ids of the excluded that one query reads.
READ = 100_000
#: The queries that find which lists and segments exist, and those that hold them, too.
_EXISTING = {"lists": "audience.lists", "segments": "audience.segments"}
_HELD = {"lists": "audience.hold_lists", "segments": "audience.hold_segments"}


async def page_of_campaign(
    tx: Tx, workspace_id: int, audience: Audience, after: int, n: int, now: int, *, upto: int = LAST
) -> list[int]:
    """Return the first `n` profiles of an audience after a profile, up to another one, in the order of their ids."""
    if audience.segments:
        given = audiences.AudienceSet(
            lists=tuple(audience.numbers("lists")),
            segments=tuple(audience.numbers("segments")),
            profiles=tuple(audience.numbers("profiles")),
        )
        found = await audiences.page_of_audience(tx, workspace_id, given, audiences.NOBODY, after, n, now)
        return [id_ for id_ in found if id_ <= upto]
    # Lists alone are read by their keys. Each gives its own first `n`: the first `n` of them all are among these.
    ids: set[int] = set()
    for list_id in audience.numbers("lists"):
        rows = await tx.rows(
            "audience.of_list", workspace_id=workspace_id, list_id=list_id, after=after, upto=upto, n=n
        )
        ids.update(row[0] for row in rows)
    if profiles := [id_ for id_ in audience.numbers("profiles") if after < id_ <= upto]:
        rows = await tx.rows("audience.of_profiles", workspace_id=workspace_id, ids=profiles)
        ids.update(row[0] for row in rows)
    return sorted(ids)[:n]


async def among_campaign(
    tx: Tx, workspace_id: int, audience: Audience, first: int, last: int, now: int
) -> frozenset[int]:
    """Return the profiles of an audience in a range of profiles, both ends included."""
    found: set[int] = set()
    after = first - 1
    while not audience.empty:
        page = await page_of_campaign(tx, workspace_id, audience, after, READ, now, upto=last)
        found.update(page)
        if len(page) < READ:
            break
        after = page[-1]
    return frozenset(found)


async def find_unknown(
    tx: Tx, workspace_id: int, definition: Definition, *, hold: bool = False
) -> list[tuple[str, str]]:
    """Return the lists and segments that a campaign names and that do not exist: the fields, and what is wrong.

    With `hold`, nobody can delete those that exist before the transaction ends.
    """
    unknown: list[tuple[str, str]] = []
    for name, audience in (("audience", definition.audience), ("exclude", definition.exclude)):
        for kind, query in (_HELD if hold else _EXISTING).items():
            if not (ids := audience.numbers(kind)):
                continue
            known = {row[0] for row in await tx.rows(query, workspace_id=workspace_id, ids=ids)}
            unknown += [
                (f"{name}.{kind}", f"There is no {kind[:-1]} {public(PLACES[kind], id_)} in this workspace.")
                for id_ in ids
                if id_ not in known
            ]
    return unknown
