"""Versions of configurations: which workspaces changed since this process last read them."""

from collections.abc import Mapping

from waypost.storage.database import Tx


async def changed_versions(tx: Tx, area: str, known: Mapping[int, int], workspaces: list[int] | None) -> dict[int, int]:
    """Return the versions of an area that are newer than the known ones, by workspace; of all workspaces if None."""
    if workspaces is None:
        rows = await tx.rows("configurations.all", area=area)
    else:
        rows = await tx.rows("configurations.versions", ids=workspaces, area=area)
    return {id_: version for id_, version in rows if version > known.get(id_, 0)}
