"""Find messages that are sent under a number that no process has, and orphan them after a while."""

import time
from collections.abc import Callable

import structlog

from waypost.storage.database import Database, Tx

log = structlog.get_logger()

#: A message without an owner is orphaned after this time, which is longer than any commit or call takes.
UNOWNED_S = 60.0


class UnownedMessages:
    """Watches for numbers under which messages are being sent and that no process has.

    That happens when a process is evicted while its claim is in progress, and dies before it learns of either: the
    eviction did not see the claim, and no other process looks for messages under that number.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        #: By number: since when this process has seen messages under it.
        self._suspects: dict[int, float] = {}

    async def orphan(self) -> int:
        """Check once, and orphan the messages under a number that no process has had for UNOWNED_S. Return how many.

        A process that only missed its eviction gives up its old number itself, with its next heartbeat.
        """
        now = self._clock()
        numbers = await self._database.read(_unowned)
        self._suspects = {number: self._suspects.get(number, now) for number in numbers}
        ripe = [number for number, since in self._suspects.items() if now - since >= UNOWNED_S]
        if not ripe:
            return 0
        count = await self._database.transact(_orphan, ripe)
        if count:
            log.warning("orphaned messages that no process owned", action="messages_unowned", messages=count)
        return count


async def _unowned(tx: Tx) -> list[int]:
    return [row[0] for row in await tx.rows("messages.unowned")]


async def _orphan(tx: Tx, nodes: list[int]) -> int:
    return await tx.run("messages.orphan_unowned", nodes=nodes)
