"""Register the processes that share a database, and evict those that stop sending heartbeats."""

import secrets
import socket
from collections.abc import Awaitable, Callable

import structlog

from waypost.clock import NODES, SECOND, Ids
from waypost.errors import Unavailable
from waypost.storage.database import Database, Tx

log = structlog.get_logger()

BEAT_S = 2.0
#: A node without a heartbeat for this long, by the database's clock, is evicted and its work is released.
DEAD_AFTER = 10 * SECOND
#: The node id of the command line, which writes few rows and holds no work.
COMMAND_LINE = 0

#: Releases, in a transaction, the work that evicted nodes held; None stands for every node but this one.
Orphan = Callable[[Tx, list[int] | None], Awaitable[None]]


class Node:
    """This process's id in the database, its heartbeat, and the eviction of other nodes."""

    def __init__(self, database: Database, ids: Ids, orphan: Orphan, *, sends: bool = True) -> None:
        self._database = database
        self._orphan = orphan
        self._ids = ids
        self._sends = sends
        self._token = secrets.token_hex(16)

    async def join(self) -> None:
        """Take a free node id. On SQLite there is one process: release everything that an earlier one held."""
        alone = self._database.dialect == "sqlite"
        if alone:
            # Ids must keep rising even if the clock was set back since the last event.
            self._ids.start_after(await self._database.read(_newest))
        self._ids.node = await self._database.transact(_join, self._token, self._sends, alone, self._orphan)

    async def beat(self) -> None:
        """Send a heartbeat; take a new node id if another node evicted this one."""
        old = self._ids.node
        if await self._database.transact(_beat, old, self._token):
            return
        await self.join()
        # Release what this process recorded under its old id after the eviction: no other node would.
        await self._database.transact(_leave_behind, old, self._orphan)
        log.error(
            "another node evicted this process; it continues under a new id",
            action="node_rejoined",
            node=self._ids.node,
            before=old,
        )

    async def count_live(self) -> int:
        """Return how many live processes send, at least 1."""
        return max(1, await self._database.read(_count, DEAD_AFTER))

    async def evict_expired(self) -> bool:
        """Evict nodes without a heartbeat and release their work; return whether there were any."""
        if self._database.dialect == "sqlite" or not await self._database.read(_dead, DEAD_AFTER):
            return False
        return await self._database.transact(_evict, DEAD_AFTER, self._orphan)

    async def leave(self) -> None:
        """Remove this node and release what it still holds."""
        await self._database.transact(_leave, self._ids.node, self._token, self._orphan)


async def _newest(tx: Tx) -> int:
    row = await tx.row("events.newest")
    return row[0] if row else 0


async def _join(tx: Tx, token: str, sends: bool, alone: bool, orphan: Orphan) -> int:
    rows = await tx.rows("nodes.list")
    taken = {row[0] for row in rows}
    # Random, so that an evicted node that does not know it yet cannot reuse its own id. A process that is alone uses
    # low ids, so that its counters stay in few rows.
    start = 0 if alone else secrets.randbelow(NODES - 1)
    number = next((n for n in ((start + step) % (NODES - 1) + 1 for step in range(NODES - 1)) if n not in taken), None)
    if number is None:
        raise Unavailable(f"{NODES - 1} processes share this database already; stop one of them.")
    if alone:
        await orphan(tx, None)
        await tx.run("nodes.clear")
    await tx.run("nodes.add", id=number, token=token, host=socket.gethostname(), sends=int(sends))
    return number


async def _beat(tx: Tx, node: int, token: str) -> bool:
    return await tx.run("nodes.seen", id=node, token=token) == 1


async def _count(tx: Tx, within: int) -> int:
    row = await tx.row("nodes.live", within=within)
    return row[0] if row else 0


async def _dead(tx: Tx, unseen: int) -> list[int]:
    return [row[0] for row in await tx.rows("nodes.dead", unseen=unseen)]


async def _evict(tx: Tx, unseen: int, orphan: Orphan) -> bool:
    ids = await _dead(tx, unseen)
    if not ids or await tx.run("nodes.evict", ids=ids, unseen=unseen) != len(ids):
        return False
    await orphan(tx, ids)
    log.warning("evicted nodes without a heartbeat and released their work", action="nodes_evicted", nodes=ids)
    return True


async def _leave(tx: Tx, node: int, token: str, orphan: Orphan) -> None:
    if await tx.run("nodes.remove", id=node, token=token):
        await orphan(tx, [node])


async def _leave_behind(tx: Tx, node: int, orphan: Orphan) -> None:
    """Release what this process held under its old id, unless another process uses that id now."""
    if node not in {row[0] for row in await tx.rows("nodes.list")}:
        await orphan(tx, [node])
