"""Order the deliveries of a subject: each waits until the one before it is delivered or dead.

The deliveries of a subject that are pending form a chain: the first is due, or a process holds it; each of the others
waits for the one before it (`waits_for`) and is due only in the distant future.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from waypost.clock import SECOND
from waypost.domain.webhooks.delivery import State
from waypost.domain.webhooks.endpoint import Endpoint, subject_of
from waypost.storage.database import Database, Row, Tx

#: `due_at` of a delivery that waits for another one: the end of the year 9999.
BLOCKED = 253_402_300_799 * SECOND
#: Waiting deliveries that one step of the search for stranded ones reads: its cost does not depend on how many wait.
STEP = 5000
_START = (-1, -1)

_encode = msgspec.json.Encoder().encode
Pair = tuple[int, int]


class OrderedDelivery(msgspec.Struct):
    """A delivery to an ordered endpoint that is about to be recorded."""

    endpoint: Endpoint
    event_id: int
    #: A digest of what the event is about.
    subject: int
    body: bytes
    #: The event whose delivery must end first, or None.
    waits_for: int | None = None


def ordered_delivery(endpoint: Endpoint, event_id: int, message_id: str, body: bytes) -> OrderedDelivery:
    """Return the delivery of an event to an ordered endpoint."""
    return OrderedDelivery(endpoint, event_id, subject_of(endpoint.workspace_id, message_id), body)


async def find_predecessors(tx: Tx, deliveries: list[OrderedDelivery]) -> list[Pair]:
    """Let each delivery wait for the last one of its subject that is pending, in the database or before it.

    Return those (endpoint and event) that another transaction is changing: it may end one of them and not see what
    waits for it, so `release_ended` must look at them after the commit.
    """
    last: dict[Pair, int] = {}
    unsure: list[Pair] = []
    for endpoint_id, chain in await _chains(tx, sorted({(one.endpoint.id, one.subject) for one in deliveries})):
        # Not the largest id: the clocks of two processes differ.
        awaited = {link.waits_for for link in chain}
        tail = max(chain, key=lambda link: (link.event_id not in awaited, link.event_id))
        last[(endpoint_id, tail.subject)] = tail.event_id
        if not tail.locked:
            unsure.append((endpoint_id, tail.event_id))
    for one in deliveries:
        key = one.endpoint.id, one.subject
        one.waits_for = last.get(key)
        last[key] = one.event_id
    return unsure


async def release_followers(tx: Tx, ended: Iterable[Pair], now: int) -> bool:
    """Make the deliveries due that waited for these (endpoint and event); return whether there were any."""
    pairs = sorted(ended)
    return bool(pairs) and await tx.run("deliveries.release_waiting", rows=_encode(pairs).decode(), now=now) > 0


async def release_ended(tx: Tx, pair: Pair, now: int) -> bool:
    """Wait for the transaction that changes a delivery; if that has ended, release what waits for it."""
    row = await tx.row("deliveries.lock", endpoint_id=pair[0], event_id=pair[1])
    return (row is None or row[0] != State.PENDING) and await release_followers(tx, [pair], now)


async def arrange(tx: Tx, endpoint_id: int, subjects: Iterable[int], now: int) -> None:
    """Arrange the chains of subjects anew, in the order of the events, after some deliveries were queued again."""
    rows: list[Row] = []
    for _, chain in await _chains(tx, sorted((endpoint_id, subject) for subject in set(subjects))):
        if any(not link.locked and link.waits_for is not None for link in chain):
            # Another transaction releases it, or adds to the chain. What was queued again is due at once: better out of
            # order than two deliveries that wait for each other.
            continue
        # What a process holds, or claims now, may be on its way already: it comes first.
        chain.sort(key=lambda link: (link.free, link.event_id))
        before: int | None = None
        for link in chain:
            if link.free and link.waits_for != before:
                rows.append((endpoint_id, link.event_id, before, now if before is None else BLOCKED))
            before = link.event_id
    if rows:
        await tx.run("deliveries.arrange", rows=_encode(rows).decode())


class StrandedSearch:
    """Find deliveries that wait for one that has ended without them, such as one that retention deleted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cursor: Row = _START

    async def release(self, now: int) -> int:
        """Read one page of waiting deliveries, and make the stranded ones due. Return how many there were."""
        self._cursor, found = await self._database.read(_stretch, self._cursor)
        return await self._database.transact(_release_all, found, now) if found else 0


class _Link(msgspec.Struct):
    """A pending delivery of a subject."""

    subject: int
    event_id: int
    waits_for: int | None
    node: int | None
    #: Whether this transaction has locked it.
    locked: bool

    @property
    def free(self) -> bool:
        """Whether neither a process nor another transaction has it."""
        return self.node is None and self.locked


async def _chains(tx: Tx, subjects: list[Pair]) -> list[tuple[int, list[_Link]]]:
    """Return the pending deliveries of subjects (endpoint and subject), by endpoint and subject."""
    found: dict[Pair, dict[int, _Link]] = {}
    for row in await tx.rows("deliveries.of_subjects", subjects=_encode(subjects).decode()):
        endpoint_id, subject, event_id, waits_for, node, locked = row
        # One that could be locked comes once more, as it is now.
        chain = found.setdefault((endpoint_id, subject), {})
        chain[event_id] = _Link(subject, event_id, waits_for, node, bool(locked))
    return [(endpoint_id, list(chain.values())) for (endpoint_id, _), chain in found.items()]


async def _stretch(tx: Tx, cursor: Row) -> tuple[Row, list[Row]]:
    """Return where the next page begins, and the deliveries for which some of this page wait in vain."""
    after = dict(zip(("endpoint_id", "event_id"), cursor, strict=True))
    end = await tx.row("deliveries.stretch_waiting", **after, n=STEP - 1)
    to = dict(zip(("to_endpoint", "to_event"), end or (0, (1 << 63) - 1), strict=True))
    return end or _START, await tx.rows("deliveries.stranded", **after, **to)


async def _release_all(tx: Tx, pairs: list[Any], now: int) -> int:
    return sum([await release_ended(tx, pair, now) for pair in pairs])
