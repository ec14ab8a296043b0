"""Collect what arrives while one batch is committed; it becomes the next batch."""

import asyncio
from collections.abc import Callable, Sized
from itertools import groupby
from typing import Any

import msgspec

from waypost.errors import Unavailable

#: Appended items, and reported items, in one transaction at most.
BATCH = 1000
#: Reported results linger this long so that they share a transaction with events. No caller waits for them.
LINGER_S = 0.005


#: What one caller appended and waits for: a list of items of one type, or one item with a length.
Group = tuple[Sized, "asyncio.Future[None]"]


class Batch(msgspec.Struct):
    """What one transaction records."""

    groups: list[Group]
    #: Results of what has already happened, such as attempts. No caller waits for them.
    reported: list[Any] = []

    def by_type(self) -> dict[type, list[Any]]:
        """Group all items by type, in the order of their arrival."""
        found: dict[type, list[Any]] = {}
        for group, _ in self.groups:
            items = group if isinstance(group, list) else (group,)
            kind = type(items[0])
            if kind in found:
                found[kind].extend(items)
            else:
                found[kind] = [*items]
        for kind, reported in groupby(self.reported, type):
            found.setdefault(kind, []).extend(reported)
        return found

    def __bool__(self) -> bool:
        return bool(self.groups or self.reported)


class Journal:
    """Queues events, messages, receipts and attempts for the recorder; callers wait for the commit."""

    def __init__(self, max_waiting: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._max_waiting = max_waiting
        self._groups: list[Group] = []
        self.waiting = 0
        self._reported: list[Any] = []
        self._arrived = asyncio.Event()
        self._notified = False
        self._ripe = False
        self._ripening: asyncio.TimerHandle | None = None
        self._closed = False

    def append(self, items: Sized, *, pressing: bool = False) -> "asyncio.Future[None]":
        """Queue a list of items of one type, or one item with a length.

        The future is done when the items are durable; it fails when they were not stored. Raises Unavailable when too
        many items wait, unless the item is `pressing`: it reports what has already happened.
        """
        if self._closed:
            raise Unavailable("The server is shutting down. Retry in a moment.")
        if self.waiting + len(items) > self._max_waiting and self.waiting and not pressing:
            raise Unavailable("Too many events wait to be stored. Retry in a moment.", code="overloaded")
        future = self._loop.create_future()
        if not items:
            future.set_result(None)
            return future
        self._groups.append((items, future))
        self.waiting += len(items)
        self._arrived.set()
        return future

    def report(self, item: Any, *, linger: bool = True) -> None:
        """Queue the result of what has already happened, from any thread. It is never refused, and no caller waits."""
        self._reported.append(item)
        if not linger:
            self._call_in_loop(self._ripen)
        elif not self._notified:
            self._notified = True
            self._call_in_loop(self._linger)

    def report_now(self, item: Any) -> None:
        """Queue what has already happened, from the thread of the loop, for the next batch: somebody waits for it."""
        self._reported.append(item)
        # The loop runs already: calling into it would cost every item a turn of it, and a system call.
        self._ripe = True
        self._arrived.set()

    async def next_batch(self) -> Batch:
        """Return the next batch; an empty one when the journal is closed and nothing is left."""
        while True:
            # Reset before the check, so that an item reported meanwhile wakes this loop again.
            self._notified = False
            if self._groups or self._closed or (self._ripe and self._reported):
                break
            # An earlier batch may have taken the ripe items.
            self._ripe = False
            self._arrived.clear()
            await self._arrived.wait()
        batch = Batch(self._take_groups(), self._reported[:BATCH])
        # Other threads only append, so deleting the front keeps what they reported meanwhile.
        del self._reported[: len(batch.reported)]
        self._ripe = bool(self._reported)
        if self._ripening is not None:
            self._ripening.cancel()
            self._ripening = None
        return batch

    def put_back(self, reported: list[Any]) -> None:
        """Queue again the reported items of a failed transaction; no caller can repeat them."""
        self._reported[:0] = reported
        self._ripen()

    @property
    def closed(self) -> bool:
        """Whether the journal refuses new items."""
        return self._closed

    def close(self) -> None:
        """Refuse new items; the recorder still records what is queued."""
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
        # A batch may have taken what the loop was told of: what is reported from now on must tell it again.
        self._notified = False
        if self._ripening is not None:
            # Also after it fired: the next report needs a new timer.
            self._ripening.cancel()
            self._ripening = None
        # The recorder stops at an empty batch, so this must not produce one.
        self._ripe = bool(self._reported)
        self._arrived.set()

    def _call_in_loop(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            # The event loop has ended; the next process releases the deliveries that this one held.
            return


def settle_futures(batch: Batch, failure: BaseException | None) -> None:
    """Settle the futures of a batch; skip those whose caller has gone away."""
    for _, future in batch.groups:
        if not future.done():
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(failure)
