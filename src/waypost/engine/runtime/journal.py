"""The door in: whatever arrives while the last batch is being committed is the next batch."""

import asyncio
from collections.abc import Callable, Sized
from typing import Any

import msgspec

from waypost.errors import Unavailable

#: Items that one transaction takes at most of each kind: handed in, and reported.
BATCH = 1000
#: Reported results linger this long so that they share a transaction with events. No caller waits for them.
LINGER_S = 0.005


#: What one caller handed in and waits for: a list of items of one type, or one item with a length.
Group = tuple[Sized, "asyncio.Future[None]"]


class Batch(msgspec.Struct):
    """What one transaction records."""

    groups: list[Group]
    #: What happened already and nobody waits for, such as the results of attempts.
    reported: list[Any] = []

    def by_type(self) -> dict[type, list[Any]]:
        """All items by their type, those of a type in the order in which they came."""
        found: dict[type, list[Any]] = {}
        for group, _ in self.groups:
            if isinstance(group, list):
                found.setdefault(type(group[0]), []).extend(group)
            else:
                found.setdefault(type(group), []).append(group)
        for item in self.reported:
            found.setdefault(type(item), []).append(item)
        return found

    def __bool__(self) -> bool:
        return bool(self.groups or self.reported)


class Journal:
    """Events, messages, receipts and attempts on their way to the recorder: nobody is told before the commit."""

    def __init__(self, max_waiting: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._max_waiting = max_waiting
        self._groups: list[Group] = []
        self.waiting = 0
        self._reported: list[Any] = []
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

    def report(self, item: Any, *, linger: bool = True) -> None:
        """Hand in what happened already, from any thread: it cannot be refused, and nobody waits for it."""
        self._reported.append(item)
        if not linger:
            self._tell(self._ripen)
        elif not self._told:
            self._told = True
            self._tell(self._linger)

    async def next_batch(self) -> Batch:
        """The next batch; empty when the journal was closed and nothing is left."""
        while True:
            # Reset before looking: what comes in between tells again.
            self._told = False
            if self._groups or self._closed or (self._ripe and self._reported):
                break
            # What had ripened may have gone with an earlier batch.
            self._ripe = False
            self._arrived.clear()
            await self._arrived.wait()
        batch = Batch(self._take_groups(), self._reported[:BATCH])
        # Other threads only append, so cutting off the front leaves what came meanwhile.
        del self._reported[: len(batch.reported)]
        self._ripe = bool(self._reported)
        if self._ripening is not None:
            self._ripening.cancel()
            self._ripening = None
        return batch

    def put_back(self, reported: list[Any]) -> None:
        """Keep what a failed transaction would have recorded: it happened, and nobody can repeat it."""
        self._reported[:0] = reported
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
        if self._ripening is not None:
            # Also when it rang: the next report needs a timer of its own.
            self._ripening.cancel()
            self._ripening = None
        # An empty batch would tell the recorder that the journal is closed.
        self._ripe = bool(self._reported)
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
