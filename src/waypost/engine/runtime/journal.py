"""The door in: whatever arrives while the last batch is being committed is the next batch."""

import asyncio
from collections.abc import Callable, Sized
from typing import Any

import msgspec

from waypost.domain.events.segment import Entry
from waypost.engine.webhooks.dispatcher import Attempt
from waypost.errors import Unavailable

#: Entries, and attempts, that one transaction takes at most.
BATCH = 1000
#: What attempts came to waits so long for events to share a transaction with: nobody is kept waiting by it.
LINGER_S = 0.005


#: What somebody handed in together and waits for together: a list of things of one type, or one thing with a length.
Group = tuple[Sized, "asyncio.Future[None]"]


class Batch(msgspec.Struct):
    """What one transaction records."""

    groups: list[Group]
    attempts: list[Attempt]
    #: Deliveries that were held and not tried: endpoint and event.
    released: list[tuple[int, int]]

    def sort(self) -> tuple[list[Entry], dict[type, list[Any]]]:
        """The entries, in the order in which they came; and everything else, by its type."""
        entries: list[Entry] = []
        others: dict[type, list[Any]] = {}
        for group, _ in self.groups:
            if not isinstance(group, list):
                others.setdefault(type(group), []).append(group)
            elif type(group[0]) is Entry:
                entries.extend(group)
            else:
                others.setdefault(type(group[0]), []).extend(group)
        return entries, others

    def __bool__(self) -> bool:
        return bool(self.groups or self.attempts or self.released)


class Journal:
    """Events, messages, receipts and attempts on their way to the recorder: nobody is told before the commit."""

    def __init__(self, max_waiting: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._max_waiting = max_waiting
        self._groups: list[Group] = []
        self.waiting = 0
        self._attempts: list[Attempt] = []
        self._released: list[tuple[int, int]] = []
        self._arrived = asyncio.Event()
        self._told = False
        self._ripe = False
        self._ripening: asyncio.TimerHandle | None = None
        self._closed = False

    def append(self, items: Sized, *, pressing: bool = False) -> "asyncio.Future[None]":
        """Hand in a list of entries, or of other things of one type, or one thing with a length.

        The future is done when they are durable, and fails when they were not kept.

        Raises Unavailable when too many wait already; what is `pressing` happened already and is taken all the same.
        """
        if self._closed:
            raise Unavailable("The server is shutting down. Send it again in a moment.")
        if self.waiting + len(items) > self._max_waiting and self.waiting and not pressing:
            raise Unavailable("Too many events wait for the store. Send it again in a moment.", code="overloaded")
        future = self._loop.create_future()
        if not items:
            future.set_result(None)
            return future
        self._groups.append((items, future))
        self.waiting += len(items)
        self._arrived.set()
        return future

    def report(self, attempt: Attempt) -> None:
        """Hand in what an attempt came to, from any thread."""
        self._attempts.append(attempt)
        if not self._told:
            self._told = True
            self._tell(self._linger)

    def release(self, deliveries: list[tuple[int, int]]) -> None:
        """Hand back deliveries that are held and will not be tried, from any thread."""
        self._released.extend(deliveries)
        self._tell(self._ripen)

    async def next_batch(self) -> Batch:
        """The next batch; empty when the journal was closed and nothing is left."""
        while True:
            # Reset first, looked afterwards: what comes in between tells again.
            self._told = False
            if self._groups or self._closed or (self._ripe and (self._attempts or self._released)):
                break
            # What had ripened may have gone with an earlier batch.
            self._ripe = False
            self._arrived.clear()
            await self._arrived.wait()
        batch = Batch(self._take_groups(), self._attempts[:BATCH], self._released[:BATCH])
        # Other threads only append, so cutting off the front leaves what came meanwhile.
        del self._attempts[: len(batch.attempts)]
        del self._released[: len(batch.released)]
        self._ripe = bool(self._attempts or self._released)
        if self._ripening is not None:
            self._ripening.cancel()
            self._ripening = None
        return batch

    def put_back(self, batch: Batch) -> None:
        """Keep what a failed transaction would have recorded of attempts: they happened, and nobody can repeat them."""
        self._attempts[:0] = batch.attempts
        self._released.extend(batch.released)
        self._ripen()

    @property
    def closed(self) -> bool:
        """Whether it takes no more entries."""
        return self._closed

    def close(self) -> None:
        """Take no more entries; what is here is still recorded."""
        self._closed = True
        self._arrived.set()

    def _take_groups(self) -> list[Group]:
        groups, count = self._groups, 0
        for position, (items, _) in enumerate(groups):
            count += len(items)
            if count >= BATCH:
                taken, self._groups = groups[: position + 1], groups[position + 1 :]
                break
        else:
            taken, self._groups = groups, []
        self.waiting -= count
        return taken

    def _linger(self) -> None:
        if self._ripening is None:
            self._ripening = self._loop.call_later(LINGER_S, self._ripen)

    def _ripen(self) -> None:
        # An empty batch would tell the recorder that the journal is closed.
        self._ripe = bool(self._attempts or self._released)
        self._arrived.set()

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            # The loop has ended; the database gives what was held to the next process.
            return


def settle_futures(batch: Batch, failure: BaseException | None) -> None:
    """Tell everybody in a batch how it went; one who has gone away does not keep it from the others."""
    for _, future in batch.groups:
        if not future.done():
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(failure)
