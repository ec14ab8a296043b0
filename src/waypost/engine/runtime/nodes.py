"""The processes that work on one database: each has a number, and one that is not seen for a while is dead."""

import secrets
import socket
from collections.abc import Awaitable, Callable

import structlog

from waypost.clock import NODES, SECOND, Ids
from waypost.errors import Unavailable
from waypost.storage.database import Database, Tx

log = structlog.get_logger()

BEAT_S = 2.0
#: Not seen for so long, by the database's clock, is dead: what it held is taken over.
DEAD_AFTER = 10 * SECOND
#: Node 0 is the command line, which makes few rows and holds nothing.
COMMAND_LINE = 0

#: Frees, in a transaction, what nodes held that are gone; None stands for every node but this one.
Orphan = Callable[[Tx, list[int] | None], Awaitable[None]]


class Node:
    """This process's number in a database, and the watch over the others."""

    def __init__(self, database: Database, ids: Ids, orphan: Orphan, *, sends: bool = True) -> None:
        self._database = database
        #: Frees what nodes held that are gone.
        self._orphan = orphan
        self._ids = ids
        self._sends = sends
        self._token = secrets.token_hex(16)

    async def join(self) -> None:
        """Take a number. SQLite belongs to one process: whatever another one held there, it held when it died."""
        alone = self._database.dialect == "sqlite"
        if alone:
            # Ids go on rising even if the clock was set back since the last event.
            self._ids.start_after(await self._database.read(_newest))
        self._ids.node = await self._database.transact(_join, self._token, self._sends, alone, self._orphan)

    async def beat(self) -> None:
        """Say that this process lives; takes a new number when it was declared dead meanwhile."""
        old = self._ids.node
        if await self._database.transact(_beat, old, self._token):
            return
        await self.join()
        # What it recorded under the old number since it was declared dead is held by nobody, and nobody else looks.
        await self._database.transact(_leave_behind, old, self._orphan)
        log.error(
            "this process was declared dead and starts again under a new number",
            action="node_rejoined",
            node=self._ids.node,
            before=old,
        )

    async def count_live(self) -> int:
        """How many living processes send."""
        return max(1, await self._database.read(_count, DEAD_AFTER))

    async def evict_expired(self) -> bool:
        """Take over what dead processes held; whether there were any."""
        if self._database.dialect == "sqlite" or not await self._database.read(_dead, DEAD_AFTER):
            return False
        return await self._database.transact(_evict, DEAD_AFTER, self._orphan)

    async def leave(self) -> None:
        """Give the number back, and whatever is still held with it."""
        await self._database.transact(_leave, self._ids.node, self._token, self._orphan)


async def _newest(tx: Tx) -> int:
    row = await tx.row("events.newest")
    return row[0] if row else 0


async def _join(tx: Tx, token: str, sends: bool, alone: bool, orphan: Orphan) -> int:
    rows = await tx.rows("nodes.list")
    taken = {row[0] for row in rows}
    # A number of chance where there are others: one that was declared dead and does not know it yet shall not meet its
    # own number again. The only process keeps to few numbers, so that what it counts stays in few rows.
    start = 0 if alone else secrets.randbelow(NODES - 1)
    number = next((n for n in ((start + step) % (NODES - 1) + 1 for step in range(NODES - 1)) if n not in taken), None)
    if number is None:
        raise Unavailable("Too many processes share this database already. Stop one of them.")
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
    # One that says in this moment that it lives keeps what it holds; those that are gone hold nothing from now on.
    ids = [row[0] for row in await tx.rows("nodes.evict", unseen=unseen)]
    if not ids:
        return False
    await orphan(tx, ids)
    log.warning("took over from dead processes", action="nodes_evicted", nodes=ids)
    return True


async def _leave(tx: Tx, node: int, token: str, orphan: Orphan) -> None:
    if await tx.run("nodes.remove", id=node, token=token):
        await orphan(tx, [node])


async def _leave_behind(tx: Tx, node: int, orphan: Orphan) -> None:
    """Give up what is held under a number that this process had, unless another one has taken the number."""
    if node not in {row[0] for row in await tx.rows("nodes.list")}:
        await orphan(tx, [node])
