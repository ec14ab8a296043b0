"""The deliveries that this process holds, and the look-back that finds deliveries held without a holder."""

import time
from collections.abc import Callable, Iterable

import msgspec
import structlog

from waypost.clock import Ids
from waypost.storage.database import Database, Row, Tx

log = structlog.get_logger()

#: A delivery without a holder is released after this time, which is longer than any commit or attempt.
FORGOTTEN_S = 60.0
#: How often the look-back reads the next page of pending deliveries.
LOOK_BACK_S = 10.0
#: Pending deliveries in one page: the cost per look does not depend on the size of the backlog.
STEP = 10_000
_START = (-1, 0, 0)

_encode = msgspec.json.Encoder().encode
Pair = tuple[int, int]


class Holdings:
    """The deliveries (endpoint and event) that this process holds and whose attempts are not recorded yet."""

    def __init__(self) -> None:
        self._pairs: set[Pair] = set()

    def take(self, pairs: Iterable[Pair]) -> None:
        """Add deliveries that are committed as held by this process."""
        self._pairs.update(pairs)

    def drop(self, pairs: Iterable[Pair]) -> None:
        """Remove deliveries that were settled or released, or that this process gave up."""
        self._pairs.difference_update(pairs)

    def __contains__(self, pair: Pair) -> bool:
        return pair in self._pairs

    def __len__(self) -> int:
        return len(self._pairs)


class LookBack:
    """Find deliveries held by this process without its knowledge, or by no process that exists, and release them.

    The first happens when the database commits and its confirmation is lost: the row names this process, which does not
    know it. The second happens when a process is evicted while one of its transactions is in progress.
    """

    def __init__(
        self, database: Database, ids: Ids, holdings: Holdings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._ids = ids
        self._holdings = holdings
        self._clock = clock
        self._cursor: Row = _START
        #: By endpoint, event and node: when the look-back first saw the delivery without a holder.
        self._suspects: dict[Row, float] = {}

    async def release_forgotten(self) -> int:
        """Read one page, and release deliveries without a holder for FORGOTTEN_S. Return how many were released."""
        node, now = self._ids.node, self._clock()
        self._cursor, found = await self._database.read(_stretch, self._cursor, node)
        for row in found:
            self._suspects.setdefault(row, now)
        for row in [row for row in self._suspects if row[2] == node and row[:2] in self._holdings]:
            del self._suspects[row]
        ripe = [row for row, since in self._suspects.items() if now - since >= FORGOTTEN_S]
        if not ripe:
            return 0
        released = await self._database.transact(_release, ripe, node)
        for row in ripe:
            del self._suspects[row]
        if released:
            log.warning(
                "released deliveries that no process worked on", action="deliveries_forgotten", deliveries=released
            )
        return released


async def _stretch(tx: Tx, cursor: Row, node: int) -> tuple[Row, list[Row]]:
    """Return where the next page begins, and the deliveries of this one that may have no holder."""
    after = dict(zip(("endpoint_id", "due_at", "event_id"), cursor, strict=True))
    end = await tx.row("deliveries.stretch_pending", **after, n=STEP - 1)
    to = dict(zip(("to_endpoint", "to_due", "to_event"), end or ((1 << 63) - 1, 0, 0), strict=True))
    return end or _START, await tx.rows("deliveries.unknown_to_holder", **after, **to, node=node)


async def _release(tx: Tx, rows: list[Row], own: int) -> int:
    by_node: dict[int, list[Row]] = {}
    for endpoint_id, event_id, node in rows:
        by_node.setdefault(node, []).append((endpoint_id, event_id))
    # Another process may have taken the node id meanwhile: then it is the holder.
    alive = {row[0] for row in await tx.rows("nodes.list")} - {own}
    return sum(
        [
            await tx.run("deliveries.release", rows=_encode(pairs).decode(), node=node)
            for node, pairs in by_node.items()
            if node not in alive
        ]
    )
