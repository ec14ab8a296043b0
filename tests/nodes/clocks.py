"""Two nodes in one process whose clocks differ."""

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.engine.conftest import Outside
from tests.nodes.conftest import Pair, close_pair, open_pair

T = TypeVar("T")
REAL = time.time_ns
#: How far ahead the clock of whoever asks is.
SKEW: contextvars.ContextVar[int] = contextvars.ContextVar("skew", default=0)


class Clock:
    """A clock that is wrong for one node only: for its tasks by their context, and for its outbound thread."""

    def __init__(self, skew: int) -> None:
        self.skew = skew
        self.context = contextvars.copy_context()
        self.context.run(SKEW.set, skew)
        self.threads: set[threading.Thread] = set()

    def now(self) -> int:
        """The time as `time.time_ns` gives it to whoever asks."""
        skew = self.skew if threading.current_thread() in self.threads else SKEW.get()
        return REAL() + skew * 1000

    async def run(self, work: Awaitable[T]) -> T:
        """Do something on the node whose clock is wrong."""

        async def wait() -> T:
            return await work

        return await asyncio.create_task(wait(), context=self.context)


@contextlib.asynccontextmanager
async def clocks_apart(
    skew: int, url: str, data: Path, outside: Outside, **settings: Any
) -> AsyncIterator[tuple[Pair, Clock]]:
    """Two nodes at work, and the clock of the second."""
    clock = Clock(skew)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time_ns", clock.now)
        pair = await open_pair(url, data, outside, other=clock.run, **settings)
        clock.threads.add(pair.other.engine.outbound._thread)
        try:
            yield pair, clock
        finally:
            await close_pair(pair)
