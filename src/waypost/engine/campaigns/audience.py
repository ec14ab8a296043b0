"""The people of an audience: pages of profile ids out of lists, segments and single profiles."""

from waypost.domain.campaigns.campaign import Audience
from waypost.storage.database import Tx

#: The largest profile id.
LAST = (1 << 63) - 1


async def page_of_audience(
    tx: Tx, workspace_id: int, audience: Audience, after: int, n: int, now: int, *, upto: int = LAST
) -> list[int]:
    """Return the first `n` profiles of an audience after a profile, up to another one, in the order of their ids.

    Every part of the audience gives its own first `n`: the first `n` of them all are among these.
    """
    found: set[int] = set()
    for list_id in audience.numbers("lists"):
        rows = await tx.rows("audience.of_list", list_id=list_id, after=after, upto=upto, n=n)
        found.update(row[0] for row in rows)
    if audience.profiles:
        ids = [id_ for id_ in audience.numbers("profiles") if after < id_ <= upto]
        if ids:
            found.update(row[0] for row in await tx.rows("audience.of_profiles", workspace_id=workspace_id, ids=ids))
    return sorted(found)[:n]


async def among_audience(
    tx: Tx, workspace_id: int, audience: Audience, first: int, last: int, now: int
) -> frozenset[int]:
    """Return the profiles of an audience in a range of profiles, both ends included."""
    if audience.empty:
        return frozenset()
    return frozenset(await page_of_audience(tx, workspace_id, audience, first - 1, LAST, now, upto=last))
