"""Which workspaces are deleted, in memory: what is cached of them counts no more."""

from collections.abc import Callable

from waypost.storage.database import Database, Tx


class ClosedWorkspaces:
    """The deleted workspaces. Their rows stay for a while, and caches may still lead to them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids: frozenset[int] = frozenset()
        #: Called when a workspace was deleted, here or elsewhere: caches of callers are cleared.
        self.forget: list[Callable[[], None]] = []

    def __contains__(self, workspace_id: object) -> bool:
        return workspace_id in self._ids

    async def refresh(self) -> None:
        """Load what other processes deleted."""
        ids = frozenset(await self._database.read(_closed))
        if ids == self._ids:
            return
        self._ids = ids
        for forget in self.forget:
            forget()


async def _closed(tx: Tx) -> list[int]:
    return [row[0] for row in await tx.rows("workspace_deletions.closed")]
