"""The processes that share a database. Each has a number; one without a heartbeat for a while is evicted."""

import math
import secrets
import socket
import time
from collections.abc import Awaitable, Callable

import structlog

from waypost.clock import NODES, SECOND, Ids
from waypost.errors import Unavailable
from waypost.storage.database import Database, Tx

log = structlog.get_logger()

BEAT_S = 2.0
#: A node without a heartbeat for this long, by the database's clock, is dead: other nodes release what it held.
DEAD_AFTER = 10 * SECOND
#: Seconds after a heartbeat in which a node may rely on not being evicted.
SAFE_S = DEAD_AFTER / SECOND - BEAT_S
#: Node 0 is the command line, which creates few rows and holds nothing.
COMMAND_LINE = 0

#: Releases, in a transaction, what evicted nodes held; None stands for every node but this one.
Orphan = Callable[[Tx, list[int] | None], Awaitable[None]]


class Node:
    """The registration of this process in a database, and the eviction of others."""

    def __init__(self, database: Database, ids: Ids, orphan: Orphan, *, sends: bool = True) -> None:
        self._database = database
        self._orphan = orphan
        self._ids = ids
        self._sends = sends
        self._token = secrets.token_hex(16)
        #: Until when no other node can have evicted this one, by the monotonic clock.
        self._safe_until = math.inf

    @property
    def safe(self) -> bool:
        """Whether this process certainly holds what it claimed: no other node can have evicted it yet.

        A process that stood still, or that the database did not hear of for a while, must not send what it claimed
        before until its next heartbeat.
        """
        return time.monotonic() < self._safe_until

    async def join(self) -> None:
        """Register under a free number. On SQLite, the only process, release everything that earlier ones held."""
        alone = self._database.dialect == "sqlite"
        began = time.monotonic()
        if alone:
            # Ids keep increasing even if the clock was set back since the last event.
            self._ids.start_after(await self._database.read(_newest))
        self._ids.node = await self._database.transact(_join, self._token, self._sends, alone, self._orphan)
        self._safe_until = math.inf if alone else began + SAFE_S

    async def beat(self) -> None:
        """Send a heartbeat; register under a new number if another node has evicted this one."""
        old, began = self._ids.node, time.monotonic()
        if await self._database.transact(_beat, old, self._token):
            if self._database.dialect != "sqlite":
                self._safe_until = began + SAFE_S
            return
        await self.join()
        # Release what this process recorded under the old number after the eviction: no other node looks for it.
        await self._database.transact(_release_old, old, self._orphan)
        log.error(
            "this process was evicted and continues under a new number",
            action="node_rejoined",
            node=self._ids.node,
            before=old,
        )

    async def count_live(self) -> int:
        """Return the number of live nodes that send, at least 1."""
        return max(1, await self._database.read(_count, DEAD_AFTER))

    async def evict_expired(self) -> bool:
        """Evict dead nodes and release what they held; return whether there were any."""
        if self._database.dialect == "sqlite" or not await self._database.read(_dead, DEAD_AFTER):
            return False
        return await self._database.transact(_evict, DEAD_AFTER, self._orphan)

    async def leave(self) -> None:
        """Remove this node and release everything that it still holds."""
        await self._database.transact(_leave, self._ids.node, self._token, self._orphan)


async def _newest(tx: Tx) -> int:
    row = await tx.row("events.newest")
    return row[0] if row else 0


async def _join(tx: Tx, token: str, sends: bool, alone: bool, orphan: Orphan) -> int:
    rows = await tx.rows("nodes.list")
    used = {row[0] for row in rows}
    # Random if there may be other nodes, so that an evicted node that does not know it yet cannot get its own number
    # again. The only process of a SQLite database uses the lowest number, so that its counters stay in few rows.
    start = 0 if alone else secrets.randbelow(NODES - 1)
    number = next((n for n in ((start + step) % (NODES - 1) + 1 for step in range(NODES - 1)) if n not in used), None)
    if number is None:
        raise Unavailable("Too many processes share this database. Stop one of them.")
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
    # A node that sends a heartbeat before this statement keeps what it holds.
    ids = [row[0] for row in await tx.rows("nodes.evict", unseen=unseen)]
    if not ids:
        return False
    await orphan(tx, ids)
    log.warning("released what dead processes held", action="nodes_evicted", nodes=ids)
    return True


async def _leave(tx: Tx, node: int, token: str, orphan: Orphan) -> None:
    if await tx.run("nodes.remove", id=node, token=token):
        await orphan(tx, [node])


async def _release_old(tx: Tx, node: int, orphan: Orphan) -> None:
    """Release what is held under the old number of this process, unless another node has the number now."""
    if node not in {row[0] for row in await tx.rows("nodes.list")}:
        await orphan(tx, [node])
